"""FeaturePair: a teacher place and a student place, joined by the four parts of a method."""

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ..functional import full_precision
from ..losses import DistillLoss
from ..positions import Feature, Place, Span, ends_of
from ..positions.graph import leaves
from ..transforms import Transform
from .auto_weight import AutoWeight
from .gradient_ratio import gradient_ratios

__all__ = ['FeaturePair', 'FeaturePairs']


class FeaturePair(nn.Module):
    """``weight * d(T_t(F_t), T_s(F_s))`` for one pair of places, ``d`` in float32 whatever autocast says.

    Args:
        student_place: Where the student's feature was read.
        teacher_place: Where the teacher's feature was read.
        student_transform: ``T_s``; the connector.
        teacher_transform: ``T_t``.
        loss: ``d``.
        weight: Weight of the pair beside the others.
        auto_weight: What measures another factor, for :meth:`forward`; pairs may share one.
        resize: Resize the student's feature (bilinear) to the teacher's spatial size where the two differ, before it is
            transformed.

    Raises:
        ValueError: If the spatial sizes differ and ``resize`` is off.
    """

    def __init__(
        self,
        student_place: Place | Span,
        teacher_place: Place | Span,
        student_transform: Transform,
        teacher_transform: Transform,
        loss: DistillLoss,
        weight: float = 1.0,
        auto_weight: AutoWeight | None = None,
        resize: bool = False,
    ) -> None:
        super().__init__()
        self.student_place = student_place
        self.teacher_place = teacher_place
        self.student_transform = student_transform
        self.teacher_transform = teacher_transform
        self.loss = loss
        self.weight = weight
        self.auto_weight = auto_weight
        self.resize = resize
        self._check_size(student_place.size, teacher_place.size)

    @property
    def takes_inputs(self) -> bool:
        """Whether a transform looks at the images, and at the graph from them to the feature."""
        return self.student_transform.takes_inputs or self.teacher_transform.takes_inputs

    def _check_size(self, student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
        if student != teacher and not self.resize:
            raise ValueError(
                f'pair of unequal spatial size: student {self.student_place.name!r} is {"x".join(map(str, student))}, '
                f'teacher {self.teacher_place.name!r} is {"x".join(map(str, teacher))}; pair places of equal size '
                'or set resize=True in this pair'
            )

    def forward(
        self,
        student: Feature,
        teacher: Feature,
        inputs: Tensor | None = None,
        labels: Tensor | None = None,
        factor: float = 1.0,
    ) -> Tensor:
        """Loss of the pair.

        Args:
            student: The student's feature, shape ``(N, C_s, H, W)``; of a span, both.
            teacher: The teacher's feature, shape ``(N, C_t, H, W)``; of a span, both.
            inputs: The images, shape ``(N, 3, H, W)``, for transforms that take them.
            labels: True classes, shape ``(N,)`` or ``(N, H, W)``, for a loss that takes them.
            factor: Another weight. It is an argument because a compiled pair would be recompiled for each value that
                it reads itself.

        Returns:
            A float32 scalar.

        Raises:
            ValueError: If the student's feature has no gradient in training, or what is compared differs in shape.
        """
        last_student, last_teacher = (ends_of(x)[-1] for x in (student, teacher))
        if self.training and torch.is_grad_enabled() and not _learns(last_student, inputs):
            raise ValueError(
                f'the student place {self.student_place.name!r} comes out with no grad, so nothing can be learned '
                'there: the layers before it are frozen (frozen_stages), or it lies inside a block with with_cp=True; '
                'choose another place or unfreeze'
            )
        weight = self.weight * factor
        self._check_size(tuple(last_student.shape[2:]), tuple(last_teacher.shape[2:]))
        # Before the transform, which may normalize over positions; what it makes of two ends has no positions.
        if isinstance(student, Tensor) and isinstance(teacher, Tensor):
            if student.shape[2:] != teacher.shape[2:]:
                student = F.interpolate(student, teacher.shape[2:], mode='bilinear', align_corners=False)
            parts = self.student_transform, self.teacher_transform
            if (loss := self.loss.fused(student, teacher.detach(), *parts, weight)) is not None:
                return loss
        student = _transform(self.student_transform, student, inputs)
        teacher = _transform(self.teacher_transform, teacher, inputs).detach()
        with torch.autocast(student.device.type, enabled=False):
            student, teacher = full_precision(student), full_precision(teacher)
            if student.shape != teacher.shape:
                raise ValueError(
                    f'the transforms make {tuple(student.shape)} of the student place {self.student_place.name!r} and '
                    f'{tuple(teacher.shape)} of the teacher place {self.teacher_place.name!r}: of features, let '
                    "student_transform=dict(type='ovkd_mm.Conv1x1') lead to the teacher's channels, or give both "
                    'transforms the same settings (rate); of logits, teach a student of as many classes'
                )
            known = (labels,) if self.loss.takes_labels else ()
            return weight * self.loss(student, teacher, *known)

    def extra_repr(self) -> str:
        """Show what is joined."""
        auto = ' times what is measured' if self.auto_weight else ''
        return f'{self.student_place} <- {self.teacher_place}, weight={self.weight}{auto}'


class FeaturePairs(nn.ModuleList):
    """The pairs of a distiller, in the order of its config."""

    def __iter__(self) -> Iterator[FeaturePair]:
        return cast(Iterator[FeaturePair], super().__iter__())

    @property
    @torch.compiler.disable
    def auto_weights(self) -> list[AutoWeight]:
        """The weights that are measured, each once, of the pairs that weigh anything."""
        return list(dict.fromkeys(pair.auto_weight for pair in self if pair.auto_weight and pair.weight))

    def measured(self, task: Tensor, losses: Sequence[Tensor], weights: Sequence[nn.Parameter]) -> list[Tensor]:
        """Let the weights that are due be measured.

        Args:
            task: Loss of the student's task, a scalar.
            losses: What each pair came to.
            weights: The student's, as far as they are trained.

        Returns:
            What each pair comes to with the new weights.
        """
        due = {auto: auto.factor for auto in self.auto_weights if auto.due()}
        sums = [
            torch.stack([loss for pair, loss in zip(self, losses, strict=True) if pair.auto_weight is auto]).sum()
            for auto in due
        ]
        for (auto, factor), ratio in zip(due.items(), gradient_ratios(task, sums, weights), strict=True):
            auto.note(ratio / factor)
        # A loss that could not be measured yet counts 0: its size is unknown.
        changes = {id(auto): auto.factor / factor if auto.known else 0.0 for auto, factor in due.items()}
        return [changes.get(id(pair.auto_weight), 1.0) * loss for pair, loss in zip(self, losses, strict=True)]


def _learns(feature: Tensor, inputs: Tensor | None) -> bool:
    """Whether a trained weight is behind the feature; if the images need a gradient, the feature's is no proof."""
    if inputs is None or not inputs.requires_grad:
        return feature.requires_grad
    return any(isinstance(leaf, nn.Parameter) for leaf in leaves(feature.grad_fn))


def _transform(transform: Transform, feature: Feature, inputs: Tensor | None) -> Tensor:
    return transform(feature, inputs) if transform.takes_inputs else transform(feature)
