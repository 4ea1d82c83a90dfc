"""Distance of FitNets, AT, FSP and Jacobian matching: L2."""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from ..registry import MODELS
from .base import DistillLoss

__all__ = ['L2Loss']


@MODELS.register_module()
class L2Loss(DistillLoss):
    """Squared L2 distance.

    Args:
        loss_weight: Weight of the loss.
        reduction: ``'mean'`` over all entries, which does not depend on the input size, or ``'sum'`` over all but the
            batch, over which it is averaged: as in :class:`PartialL2Loss`, for a comparison with it.

    Raises:
        ValueError: If ``reduction`` is neither.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = 'mean') -> None:
        super().__init__(loss_weight)
        if reduction not in ('mean', 'sum'):
            raise ValueError(f"L2Loss.reduction must be 'mean' or 'sum', got {reduction!r}")
        self.reduction = reduction

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Distance of two tensors of equal shape ``(N, ...)``; a scalar."""
        distance = F.mse_loss(student, teacher.detach(), reduction=self.reduction)
        return self.loss_weight * (distance if self.reduction == 'mean' else distance / len(student))

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """What each entry adds, in the shape of the tensors."""
        return F.mse_loss(student, teacher, reduction='none')
