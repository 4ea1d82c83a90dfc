"""Teacher transform of OFD's ablation: the ReLU."""

from torch import nn

from ..registry import MODELS
from .base import Transform

__all__ = ['ReLU']


@MODELS.register_module()
class ReLU(Transform, nn.ReLU):
    """What the teacher's next layer sees of a pre-ReLU feature (the paper's ablation, section 5)."""
