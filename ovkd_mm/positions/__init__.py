"""Where features are read: tracing a model once to find places, and the taps that read them."""

from .auto import auto_pairs
from .base import Position
from .end_of_group import EndOfGroup
from .module_output import ModuleOutput
from .place import Place
from .pre_relu import PreReLU
from .tap import Tap, reading
from .trace import Trace, trace

__all__ = [
    'EndOfGroup',
    'ModuleOutput',
    'Place',
    'Position',
    'PreReLU',
    'Tap',
    'Trace',
    'auto_pairs',
    'reading',
    'trace',
]
