"""Distance of OFD: partial L2."""

import torch
from torch import Tensor, nn

from ..functional import partial_l2
from ..fused import can_fuse, normalized_partial_l2, partial_l2_and_skipped
from ..registry import MODELS
from ..transforms import Conv1x1, MarginReLU, Transform
from .base import DistillLoss

__all__ = ['PartialL2Loss']


@MODELS.register_module()
class PartialL2Loss(DistillLoss):
    """Partial L2 distance, summed over channels and positions and averaged over the batch (section 3.2).

    Args:
        loss_weight: Weight of the loss. The loss is a sum over C, H and W, so a weight fits one input size; the paper's
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
        weight = self.loss_weight / len(student)
        return self._keep(student, *partial_l2_and_skipped(student, teacher, weight=weight))

    def fused(
        self,
        student: Tensor,
        teacher: Tensor,
        student_transform: Transform,
        teacher_transform: Transform,
        weight: float,
    ) -> Tensor | None:
        """The margin ReLU and the connector's batch norm together with the distance."""
        if type(teacher_transform) is not MarginReLU or type(student_transform) is not Conv1x1:
            return None
        convolution, norm = student_transform.conv, student_transform[-1]
        shape = (len(student), convolution.out_channels, *student.shape[2:])
        if (
            type(norm) is not nn.BatchNorm2d
            or not norm.track_running_stats
            or not can_fuse(student)
            or teacher.shape != shape
            or teacher.numel() == teacher.shape[1]  # one value a channel, for which Conv1x1 has a rule
            or any(_is_watched(module) for module in (self, student_transform, norm, teacher_transform))
        ):
            return None
        feature = convolution(student)
        with torch.autocast(student.device.type, enabled=False):
            margins = teacher_transform.margins(teacher)
            weight *= self.loss_weight / len(student)
            return self._keep(teacher, *normalized_partial_l2(feature, norm, teacher, margins, weight))

    def _keep(self, feature: Tensor, total: Tensor, skipped: Tensor) -> Tensor:
        self._skipped = skipped / feature.numel()
        return total

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """What each position adds to the sum, in the shape of the features."""
        return partial_l2(student, teacher, reduction='none')

    def log(self, compared: bool) -> dict[str, Tensor]:
        """``skipped``, the fraction of positions that were not learned from, 0 to 1; 1 where nothing is compared."""
        if not compared:  # not left out: mmengine's log would repeat the last value from then on, even a resumed one
            return dict(skipped=torch.ones(()))
        return {} if self._skipped is None else dict(skipped=self._skipped)


def _is_watched(module: nn.Module) -> bool:
    """Whether somebody waits for its call."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)
