"""The distance of FT."""

from torch import Tensor, nn

from ..functional import normalised_l1
from ..registry import MODELS

__all__ = ['FactorLoss']


@MODELS.register_module()
class FactorLoss(nn.Module):
    """L1 distance of factors of unit length, averaged over all entries.

    See :func:`ovkd_mm.functional.normalised_l1`.

    Args:
        loss_weight: Weight of the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Distance of factors of equal shape ``(N, C, H, W)``; a scalar."""
        return self.loss_weight * self.distance(student, teacher).mean()

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """What each position adds to the mean, in the shape of the factors."""
        return normalised_l1(student, teacher)
