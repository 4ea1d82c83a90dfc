"""One teacher place and one student place, joined by the four parts of a method."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ..positions import Place

__all__ = ['FeaturePair']


class FeaturePair(nn.Module):
    """``weight * d(T_t(F_t), T_s(F_s))`` for one pair of places, in float32 whatever autocast says.

    Args:
        student_place: Where the student's feature was read.
        teacher_place: Where the teacher's feature was read.
        student_transform: ``T_s``; the connector.
        teacher_transform: ``T_t``.
        loss: ``d``.
        weight: Weight of the pair beside the others.
        resize: Resize the student's feature (bilinear) to the teacher's spatial size where the two differ.

    Raises:
        ValueError: If the spatial sizes differ and ``resize`` is off.
    """

    def __init__(
        self,
        student_place: Place,
        teacher_place: Place,
        student_transform: nn.Module,
        teacher_transform: nn.Module,
        loss: nn.Module,
        weight: float = 1.0,
        resize: bool = False,
    ) -> None:
        super().__init__()
        self.student_place = student_place
        self.teacher_place = teacher_place
        self.student_transform = student_transform
        self.teacher_transform = teacher_transform
        self.loss = loss
        self.weight = weight
        self.resize = resize
        self._check_size(student_place.size, teacher_place.size)

    def _check_size(self, student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
        if student != teacher and not self.resize:
            raise ValueError(
                f'pair of unequal spatial size: student {self.student_place.name!r} is {"x".join(map(str, student))}, '
                f'teacher {self.teacher_place.name!r} is {"x".join(map(str, teacher))}; pair places of equal size '
                'or set resize=True in this pair'
            )

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Loss of the pair.

        Args:
            student: The student's feature, shape ``(N, C_s, H, W)``.
            teacher: The teacher's feature, shape ``(N, C_t, H, W)``.

        Returns:
            A float32 scalar.

        Raises:
            ValueError: If the student's feature has no gradient in training, or the sizes differ.
        """
        if self.training and torch.is_grad_enabled() and not student.requires_grad:
            raise ValueError(
                f'the student place {self.student_place.name!r} comes out with no grad, so nothing can be learned '
                'there: the layers before it are frozen (frozen_stages), or it lies inside a block with with_cp=True; '
                'choose another place or unfreeze'
            )
        self._check_size(tuple(student.shape[2:]), tuple(teacher.shape[2:]))
        student, teacher = self.student_transform(student), self.teacher_transform(teacher)
        with torch.autocast(student.device.type, enabled=False):
            student, teacher = student.float(), teacher.float()
            if student.shape[2:] != teacher.shape[2:]:
                student = F.interpolate(student, teacher.shape[2:], mode='bilinear', align_corners=False)
            return self.weight * self.loss(student, teacher)

    def extra_repr(self) -> str:
        """Show what is joined."""
        return f'{self.student_place} <- {self.teacher_place}, weight={self.weight}'
