"""Distance of AB: marginal L2."""

from torch import Tensor

from ..functional import marginal_l2
from ..number import number
from ..registry import MODELS
from .base import DistillLoss

__all__ = ['MarginalL2Loss']


@MODELS.register_module()
class MarginalL2Loss(DistillLoss):
    """Squared distance from the wanted side of the teacher's activation boundary, averaged over all entries.

    See :func:`ovkd_mm.functional.marginal_l2`.

    Args:
        loss_weight: Weight of the loss.
        margin: How far beyond the boundary the student's response should lie.

    Raises:
        ValueError: If a number is negative.
    """

    def __init__(self, loss_weight: float = 1.0, margin: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.margin = number('MarginalL2Loss.margin', margin)

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """What each position adds to the mean: of a feature and the teacher's binarized one, both ``(N, C, H, W)``."""
        return marginal_l2(student, teacher, self.margin)
