"""Transform of KD and of FitNets' teacher: none."""

from torch import nn

from ..registry import MODELS
from .base import Transform

__all__ = ['Identity']


@MODELS.register_module()
class Identity(Transform, nn.Identity):
    """The feature as it is: of FitNets' and KD's teacher, of KD's student."""
