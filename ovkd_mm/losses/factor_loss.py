"""Distance of FT: L1 of factors of unit length."""

from torch import Tensor

from ..functional import normalized_l1
from ..registry import MODELS
from .base import DistillLoss

__all__ = ['FactorLoss']


@MODELS.register_module()
class FactorLoss(DistillLoss):
    """L1 distance of factors of unit length, averaged over all entries.

    See :func:`ovkd_mm.functional.normalized_l1`.

    Args:
        loss_weight: Weight of the loss.
    """

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """What each position of factors ``(N, C, H, W)`` adds to the mean, in their shape."""
        return normalized_l1(student, teacher)
