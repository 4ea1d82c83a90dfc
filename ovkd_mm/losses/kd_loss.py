"""Distance of KD, with and without logit standardization: divergence of softened class probabilities."""

from torch import Tensor

from ..functional import by_distribution, softened_kl, standardized
from ..number import number
from ..registry import MODELS
from .base import DistillLoss

__all__ = ['KDLoss']

# Of logits that are standardized. In the authors' code there is none, and where a head begins with zeros, as those of
# mmpretrain's vision transformers do, all logits are equal at first and the gradient is millions of times KD's.
LEAST = 0.1


@MODELS.register_module()
class KDLoss(DistillLoss):
    """Divergence of softened class probabilities, averaged over all distributions.

    See :func:`ovkd_mm.functional.softened_kl`. Every position (in a detector, every anchor) has a distribution of
    its own.

    Args:
        loss_weight: Weight of the loss.
        temperature: Divisor of the logits.
        classes: How many channels make a distribution, background included; all of them if ``None``. The pair's
            ``classes`` is handed on.
        standardize: Give the logits of each distribution mean 0 and deviation 1 first, so that a student need not match
            the teacher's confidence (Sun et al., CVPR 2024, https://arxiv.org/abs/2403.01427). A deviation below 0.1
            counts as 0.1.

    Raises:
        ValueError: If the temperature is not positive.
    """

    over_classes = True

    def __init__(
        self,
        loss_weight: float = 1.0,
        temperature: float = 4.0,
        classes: int | None = None,
        standardize: bool = False,
    ) -> None:
        super().__init__(loss_weight)
        self.temperature = number('KDLoss.temperature', temperature, above=True)
        self.classes = classes
        self.standardize = standardize

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """What each distribution adds to the mean.

        Args:
            student: Logits of shape ``(N, C)`` or ``(N, anchors * classes, H, W)``.
            teacher: Logits of the same shape.

        Returns:
            Shape ``(N, 1)`` or ``(N, anchors, H, W)``.

        Raises:
            ValueError: If the logits' channels are not a multiple of ``classes``, or there is one class alone.
        """
        student, teacher = (by_distribution(logits, self.classes) for logits in (student, teacher))
        if self.standardize:
            student, teacher = (standardized(logits, [-1], LEAST) for logits in (student, teacher))
        return softened_kl(student, teacher, self.temperature)
