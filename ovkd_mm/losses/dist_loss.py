"""Distance of DIST: correlation of class probabilities."""

from torch import Tensor

from ..functional import by_distribution, correlation_distance
from ..number import number
from ..registry import MODELS
from .base import DistillLoss

__all__ = ['DISTLoss']

# Of the student's probabilities. In the authors' code there is none, and where a head begins with zeros, as those of
# mmpretrain's vision transformers do, all are equal at first and the gradient is millions of times KD's.
LEAST = 0.01


@MODELS.register_module()
class DISTLoss(DistillLoss):
    r"""How far class probabilities are from correlating with the teacher's, within an image and within a class.

    .. math:: T^2 (\beta (1 - \rho_\text{inter}) + \gamma (1 - \rho_\text{intra}))

    with Pearson's correlation over the classes of each distribution (inter) and over the distributions of each class
    (intra); Huang et al., NeurIPS 2022, https://arxiv.org/abs/2205.10536, equation 9. Every position (in a detector,
    every anchor) has a distribution of its own. Probabilities of the student whose deviation is less than 1 % of their
    root mean square count as varying by that.

    Args:
        loss_weight: Weight of the loss.
        temperature: ``T``, divisor of the logits.
        inter_weight: :math:`\beta`.
        intra_weight: :math:`\gamma`.
        classes: How many channels make a distribution, background included; all of them if ``None``. The pair's
            ``classes`` is handed on.

    Raises:
        ValueError: If the temperature is not positive, or a weight negative.
    """

    over_classes = True

    def __init__(
        self,
        loss_weight: float = 1.0,
        temperature: float = 1.0,
        inter_weight: float = 1.0,
        intra_weight: float = 1.0,
        classes: int | None = None,
    ) -> None:
        super().__init__(loss_weight)
        self.temperature = number('DISTLoss.temperature', temperature, above=True)
        self.inter_weight = number('DISTLoss.inter_weight', inter_weight)
        self.intra_weight = number('DISTLoss.intra_weight', intra_weight)
        self.classes = classes

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of logits of shape ``(N, C)`` or ``(N, anchors * classes, H, W)``; a scalar."""
        student, teacher = self._probabilities(student, teacher)
        intra = correlation_distance(student.T, teacher.T, LEAST).mean()
        inter = correlation_distance(student, teacher, LEAST).mean()
        return self.loss_weight * self.temperature**2 * (self.inter_weight * inter + self.intra_weight * intra)

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The part within images, shape ``(N, 1)`` or ``(N, anchors, H, W)``; the other part belongs to no position."""
        shape = by_distribution(student, self.classes).shape[:-1]
        student, teacher = self._probabilities(student, teacher)
        inter = correlation_distance(student, teacher, LEAST).view(shape)
        return self.temperature**2 * self.inter_weight * inter

    def _probabilities(self, *logits: Tensor) -> tuple[Tensor, ...]:
        """Shape ``(M, classes)``."""
        return tuple(
            (by_distribution(one, self.classes).flatten(0, -2) / self.temperature).softmax(-1) for one in logits
        )
