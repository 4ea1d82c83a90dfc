"""Transform of PKD: each channel standardized."""

from torch import Tensor, nn

from ..functional import full_precision, standardized
from ..registry import MODELS
from .base import Transform
from .conv1x1 import Conv1x1

__all__ = ['Standardize']


@MODELS.register_module()
class Standardize(Transform):
    """Mean 0 and deviation 1 of each channel over the batch and all positions.

    The mean squared difference of two such features is 2 (1 - their Pearson correlation) (Cao et al., NeurIPS
    2022, https://arxiv.org/abs/2207.02039, section 3.2). Where the numbers of channels differ, a :class:`Conv1x1`
    without batch norm maps the student's to the teacher's.

    Args:
        in_channels: Channels of the student's feature; none for a teacher.
        out_channels: Channels of the teacher's; none for a teacher.
    """

    def __init__(self, in_channels: int | None = None, out_channels: int | None = None) -> None:
        super().__init__()
        self.connector: nn.Module = nn.Identity()
        if in_channels is not None and out_channels is not None and in_channels != out_channels:
            self.connector = Conv1x1(in_channels, out_channels, norm=False)

    def forward(self, feature: Tensor) -> Tensor:
        """Transform a feature of shape ``(N, C, H, W)``."""
        return standardized(full_precision(self.connector(feature)), [0, 2, 3])
