"""The teacher transform that the paper sets its own against."""

from torch import nn

from ..registry import MODELS

__all__ = ['ReLU']


@MODELS.register_module()
class ReLU(nn.ReLU):
    """What the teacher's next layer sees of a pre-ReLU feature (the paper's ablation, section 5)."""
