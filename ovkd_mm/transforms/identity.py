"""Transform of KD and of FitNets' teacher: none."""

from torch import nn

from ..registry import MODELS
from .base import Transform

__all__ = ['Identity']


@MODELS.register_module()
class Identity(Transform, nn.Identity):
    """The feature as it is, for the teacher in FitNets and KD and for the student in KD."""
