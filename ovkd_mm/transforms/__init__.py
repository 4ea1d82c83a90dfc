"""Teacher and student transforms, one idea a file."""

from .attention_map import AttentionMap
from .base import Transform
from .binarize import Binarize
from .channel_correlation import ChannelCorrelation
from .conv1x1 import Conv1x1
from .factors import Paraphraser, Translator
from .gram_matrix import GramMatrix
from .identity import Identity
from .input_gradient import InputGradient
from .margin_relu import MarginReLU
from .masked_generation import MaskedGeneration
from .relu import ReLU
from .standardize import Standardize
from .whitening import Whitening

__all__ = [
    'AttentionMap',
    'Binarize',
    'ChannelCorrelation',
    'Conv1x1',
    'GramMatrix',
    'Identity',
    'InputGradient',
    'MarginReLU',
    'MaskedGeneration',
    'Paraphraser',
    'ReLU',
    'Standardize',
    'Transform',
    'Translator',
    'Whitening',
]
