"""Distance of KD: divergence of softened class probabilities."""

from torch import Tensor

from ..functional import softened_kl
from ..registry import MODELS
from .base import DistillLoss

__all__ = ['KDLoss']


@MODELS.register_module()
class KDLoss(DistillLoss):
    """Divergence of softened class probabilities, averaged over all distributions.

    See :func:`ovkd_mm.functional.softened_kl`. Every position, and of a detector every anchor, has a distribution of
    its own.

    Args:
        loss_weight: Weight of the loss.
        temperature: Divisor of the logits.
        classes: How many channels make a distribution, background included; all of them if ``None``. The pair's
            ``classes`` is handed on.

    Raises:
        ValueError: If the temperature or the number of classes is not positive.
    """

    def __init__(self, loss_weight: float = 1.0, temperature: float = 4.0, classes: int | None = None) -> None:
        super().__init__(loss_weight)
        if temperature <= 0:
            raise ValueError(f'KDLoss.temperature must be above 0, got {temperature}')
        if classes is not None and classes <= 0:
            raise ValueError(f'classes of a pair of logits must be above 0, got {classes}')
        self.temperature = temperature
        self.classes = classes

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """What each distribution adds to the mean.

        Args:
            student: Logits of shape ``(N, C)`` or ``(N, anchors * classes, H, W)``.
            teacher: Logits of the same shape.

        Returns:
            Shape ``(N, 1)`` or ``(N, anchors, H, W)``.

        Raises:
            ValueError: If the logits' channels are not a multiple of ``classes``.
        """
        student, teacher = (self._by_distribution(logits) for logits in (student, teacher))
        return softened_kl(student, teacher, self.temperature)

    def _by_distribution(self, logits: Tensor) -> Tensor:
        """From ``(N, anchors * classes, ...)`` to ``(N, anchors, ..., classes)``; an anchor's classes lie together."""
        classes = self.classes or logits.shape[1]
        if logits.shape[1] % classes:
            raise ValueError(
                f'{logits.shape[1]} channels of logits are not a multiple of classes={classes}; in model.logits set '
                'classes to what one anchor has, background included'
            )
        return logits.unflatten(1, (-1, classes)).movedim(2, -1)
