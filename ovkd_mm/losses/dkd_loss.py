"""Distance of decoupled knowledge distillation (DKD)."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from ..functional import by_distribution, decoupled_kl
from ..number import number
from ..registry import MODELS
from .base import DistillLoss

__all__ = ['DKDLoss']


@MODELS.register_module()
class DKDLoss(DistillLoss):
    """Divergence of class probabilities, with separate weights for the true class and for the other classes.

    See :func:`ovkd_mm.functional.decoupled_kl`. It needs the true class of each distribution: of images, or of the
    positions of a mask. A detector's anchors have none before they are assigned.

    Args:
        loss_weight: Weight of the loss.
        temperature: Divisor of the logits.
        target_weight: Weight of the true class against all others (alpha).
        other_weight: Weight of the others among themselves (beta).
        ignore_index: A label in masks that is not a class. A distiller takes that of the student's head, unless it is
            set. Labels of whole images are always classes.

    Raises:
        ValueError: If the temperature is not positive, or a weight negative.
    """

    takes_labels = True
    over_classes = True

    def __init__(
        self,
        loss_weight: float = 1.0,
        temperature: float = 4.0,
        target_weight: float = 1.0,
        other_weight: float = 8.0,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(loss_weight)
        self.temperature = number('DKDLoss.temperature', temperature, above=True)
        self.target_weight = number('DKDLoss.target_weight', target_weight)
        self.other_weight = number('DKDLoss.other_weight', other_weight)
        self.ignore_index = ignore_index

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean over all distributions with a true class.

        Args:
            student: Logits of shape ``(N, C)`` or ``(N, C, H, W)``.
            teacher: The same.
            labels: True classes, shape ``(N,)`` or ``(N, H', W')``, resized by nearest neighbor.

        Returns:
            A scalar; 0 where there is no true class.
        """
        known = self._known(_nearest(labels, student))
        return self.loss_weight * self.distance(student, teacher, labels).sum() / known.sum().clamp_min(1)

    def distance(self, student: Tensor, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """What each distribution adds, shape ``(N, 1)`` or ``(N, 1, H, W)``; 0 where there is no true class.

        Raises:
            ValueError: If there are not as many labels as distributions, there is one class alone or, on a CPU, a label
                is no class; on a GPU an assertion of torch fails.
        """
        by_distribution(student, None)  # refuses one class
        labels = _nearest(labels, student)
        known = self._known(labels)
        if labels.device.type == 'cpu':  # to look would be to wait for a GPU
            _check_labels(labels[known], student.shape[1])
        labels = labels.masked_fill(~known, 0).flatten()
        student, teacher = (logits.movedim(1, -1).flatten(0, -2) for logits in (student, teacher))
        values = decoupled_kl(student, teacher, labels, self.temperature, self.target_weight, self.other_weight)
        return values.view(known.shape).masked_fill(~known, 0).unsqueeze(1)

    def _known(self, labels: Tensor) -> Tensor:
        return torch.ones_like(labels, dtype=torch.bool) if labels.dim() == 1 else labels != self.ignore_index


def _check_labels(labels: Tensor, classes: int) -> None:
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise ValueError(f'DKDLoss: the label {wrong[0].item()} is none of the {classes} classes of the logits')


def _nearest(labels: Tensor | None, logits: Tensor) -> Tensor:
    """Labels at the positions of logits."""
    if labels is None:
        raise ValueError('DKDLoss needs the true classes')
    if labels.dim() == 3 and logits.dim() == 4 and labels.shape[1:] != logits.shape[2:]:
        labels = F.interpolate(labels[:, None].float(), logits.shape[2:], mode='nearest')[:, 0].long()
    if labels.shape != (len(logits), *logits.shape[2:]):
        raise ValueError(
            f'DKDLoss needs the true class of each of the logits {tuple(logits.shape)}, and the labels are '
            f'{tuple(labels.shape)}'
        )
    return labels
