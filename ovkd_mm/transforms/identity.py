"""No transform."""

from torch import nn

from ..registry import MODELS

__all__ = ['Identity']


@MODELS.register_module()
class Identity(nn.Identity):
    """The feature as it is: of FitNets' and KD's teacher, of KD's student."""
