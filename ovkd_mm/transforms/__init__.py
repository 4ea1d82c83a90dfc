"""Teacher and student transforms, one idea a file."""

from .attention_map import AttentionMap
from .base import Transform
from .binarize import Binarize
from .conv1x1 import Conv1x1
from .factors import Paraphraser, Translator
from .gram_matrix import GramMatrix
from .identity import Identity
from .input_gradient import InputGradient
from .margin_relu import MarginReLU
from .relu import ReLU
from .whitening import Whitening

__all__ = [
    'AttentionMap',
    'Binarize',
    'Conv1x1',
    'GramMatrix',
    'Identity',
    'InputGradient',
    'MarginReLU',
    'Paraphraser',
    'ReLU',
    'Transform',
    'Translator',
    'Whitening',
]
