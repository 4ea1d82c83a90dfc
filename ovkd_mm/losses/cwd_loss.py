"""Distance of channel-wise distillation (CWD)."""

from torch import Tensor

from ..functional import channel_wise_kl
from ..number import number
from ..registry import MODELS
from .base import DistillLoss

__all__ = ['CWDLoss']


@MODELS.register_module()
class CWDLoss(DistillLoss):
    """KL divergence of where each channel is active, summed over positions and averaged over channels and images.

    See :func:`ovkd_mm.functional.channel_wise_kl`. For features, and for logits that have positions.

    Args:
        loss_weight: Weight of the loss.
        temperature: Divisor of the activations.

    Raises:
        ValueError: If the temperature is not positive.
    """

    def __init__(self, loss_weight: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.temperature = number('CWDLoss.temperature', temperature, above=True)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of two features of shape ``(N, C, H, W)``; a scalar."""
        return self.loss_weight * self.distance(student, teacher).flatten(2).sum(2).mean()

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """What each position adds, in the shape of the features.

        Raises:
            ValueError: If there are no positions.
        """
        if student.dim() < 3:
            raise ValueError(
                f'CWDLoss compares where channels are active, and {tuple(student.shape)} has no positions: for scores '
                "of whole images take another method, such as '_base_/methods/dist.py'"
            )
        return channel_wise_kl(student, teacher, self.temperature)
