"""Transform of AT: the attention map."""

from torch import Tensor

from ..functional import attention_map, full_precision
from ..registry import MODELS
from .base import Transform

__all__ = ['AttentionMap']


@MODELS.register_module()
class AttentionMap(Transform):
    """The normalized sum of squares over channels; see :func:`ovkd_mm.functional.attention_map`.

    It has one channel whatever the feature has, so it needs no connector.
    """

    def forward(self, feature: Tensor) -> Tensor:
        """Map a feature of shape ``(N, C, H, W)`` to ``(N, 1, H, W)``."""
        return attention_map(full_precision(feature))
