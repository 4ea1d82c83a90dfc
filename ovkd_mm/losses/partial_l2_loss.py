"""Distance of OFD: partial L2."""

import torch
from torch import Tensor

from ..functional import partial_l2
from ..one_pass import partial_l2_and_skipped
from ..registry import MODELS
from .base import DistillLoss

__all__ = ['PartialL2Loss']


@MODELS.register_module()
class PartialL2Loss(DistillLoss):
    """Partial L2 distance, summed over channels and positions and averaged over the batch (section 3.3).

    Args:
        loss_weight: Weight of the loss. Since it is a sum over C, H and W it belongs to one input size; the paper's
            weights are 1e-3 for 32x32 inputs, 1e-4 for 224x224, 1e-5 for detection and segmentation (section 4).
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self._skipped: Tensor | None = None

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Distance of the transformed features.

        Args:
            student: Student feature in the teacher's shape ``(N, C, H, W)``.
            teacher: Margin-ReLU'd teacher feature of the same shape.

        Returns:
            A scalar.
        """
        total, skipped = partial_l2_and_skipped(student, teacher)
        self._skipped = skipped / student.numel()
        return self.loss_weight * total / len(student)

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """What each position adds to the sum, in the shape of the features."""
        return partial_l2(student, teacher, reduction='none')

    def log(self, compared: bool) -> dict[str, Tensor]:
        """``skipped``, the part of the positions that was not learned from, from 0 to 1."""
        if self._skipped is None:
            return {}
        return dict(skipped=self._skipped if compared else torch.ones_like(self._skipped))
