"""The contract of distances, the last part of a method."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from ..number import number
from ..transforms import Transform

__all__ = ['DistillLoss']


class DistillLoss(nn.Module, ABC):
    """Distance of a student's and a teacher's transformed features: the last of a method's four parts.

    A pair calls it in float32, with two tensors of equal shape, the teacher's without a gradient. A class whose
    constructor has an argument ``classes`` gets the pair's own, if set; ``ignore_index``, that of the student's head.

    Args:
        loss_weight: Weight of the loss, at least 0 (else a ``ValueError``). In a config also ``'auto'`` or
            ``dict(share=...)``, which measure it (:class:`ovkd_mm.distillers.auto_weight.AutoWeight`).

    Attributes:
        takes_labels: Whether both methods take true classes as a third argument, ``(N,)``, or of masks ``(N, H, W)``.
        over_classes: Whether it compares distributions over classes, so that it suits scores trained with a softmax.
    """

    takes_labels: ClassVar[bool] = False
    over_classes: ClassVar[bool] = False

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = number(f'{type(self).__name__}.loss_weight', loss_weight)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss, a scalar: by default the mean of :meth:`distance`, times the weight.

        Args:
            student: What the student's transform makes of its feature.
            teacher: What the teacher's makes of the teacher's, in the same shape.
        """
        return self.loss_weight * self.distance(student, teacher).mean()

    @abstractmethod
    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """What each position adds to the loss, before the weight; ``FeatureVisualizationHook`` shows it."""

    def fused(
        self,
        student: Tensor,
        teacher: Tensor,
        student_transform: Transform,
        teacher_transform: Transform,
        weight: float,
    ) -> Tensor | None:
        """``weight`` times the loss of features that are not transformed yet, computed by one fused operation.

        It is only for speed: the result is that of the transforms followed by :meth:`forward`.

        Args:
            student: The student's feature, shape ``(N, C_s, H, W)``.
            teacher: The teacher's feature, shape ``(N, C_t, H, W)``.
            student_transform: The transform of the student's feature.
            teacher_transform: The transform of the teacher's feature.
            weight: Weight of the loss beside its own.

        Returns:
            A float32 scalar; None where there is no such operation.
        """
        return None

    def log(self, compared: bool) -> dict[str, Tensor]:
        """Scalars to add to the log, by name; there the distiller calls them ``distill_<name>_<pair>``.

        No name may contain ``loss``: mmengine would add the value to the loss.

        Args:
            compared: Whether this iteration compared anything; False while the weight of distillation is 0.
        """
        return {}
