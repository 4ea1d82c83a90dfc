"""The distance of AB."""

from torch import Tensor, nn

from ..functional import marginal_l2
from ..registry import MODELS

__all__ = ['MarginalL2Loss']


@MODELS.register_module()
class MarginalL2Loss(nn.Module):
    """Squared distance from the wanted side of the teacher's activation boundary, averaged over all entries.

    See :func:`ovkd_mm.functional.marginal_l2`.

    Args:
        loss_weight: Weight of the loss.
        margin: How far beyond the boundary the student's response should lie.
    """

    def __init__(self, loss_weight: float = 1.0, margin: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.margin = margin

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Distance of a feature from the binarized feature of the teacher, both ``(N, C, H, W)``; a scalar."""
        return self.loss_weight * self.distance(student, teacher).mean()

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """What each position adds to the mean, in the shape of the features."""
        return marginal_l2(student, teacher, self.margin)
