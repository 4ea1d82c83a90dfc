"""Teacher transform of AB: which neurons are active."""

from torch import Tensor

from ..registry import MODELS
from .base import Transform

__all__ = ['Binarize']


@MODELS.register_module()
class Binarize(Transform):
    """Whether a neuron is active: 1 where the pre-activation is above 0, else 0 (Heo et al., AAAI 2019)."""

    def forward(self, feature: Tensor) -> Tensor:
        """Transform a feature of any shape into one of the same."""
        return (feature > 0).to(feature.dtype)
