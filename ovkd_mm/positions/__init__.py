"""Where features are read: tracing a model once to find places, and the taps that read them."""

from .auto import auto_pairs, auto_places
from .base import Position
from .candidates import candidates
from .end_of_group import EndOfGroup
from .group_ends import GroupEnds
from .logits import Logits, auto_logits
from .mid_layer import MidLayer
from .module_output import ModuleOutput
from .place import Feature, Place, Span, ends_of
from .pre_relu import PreReLU
from .tap import SpanTap, Tap, reading, tap_at
from .trace import Trace
from .watch import trace

__all__ = [
    'EndOfGroup',
    'Feature',
    'GroupEnds',
    'Logits',
    'MidLayer',
    'ModuleOutput',
    'Place',
    'Position',
    'PreReLU',
    'Span',
    'SpanTap',
    'Tap',
    'Trace',
    'auto_logits',
    'auto_pairs',
    'auto_places',
    'candidates',
    'ends_of',
    'reading',
    'tap_at',
    'trace',
]
