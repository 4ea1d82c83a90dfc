"""Transform of ICKD: the correlation of channels."""

import torch
from torch import Tensor, nn

from ..functional import channel_correlation, full_precision
from ..registry import MODELS
from .base import Transform
from .conv1x1 import Conv1x1

__all__ = ['ChannelCorrelation']


@MODELS.register_module()
class ChannelCorrelation(Transform):
    r"""How similar channels are to each other; see :func:`ovkd_mm.functional.channel_correlation`.

    Rows have the length :math:`1 / \sqrt{C}`, so that the squared difference of two such matrices, summed, is the mean
    over channels. A student's feature first passes a :class:`Conv1x1`, as in the authors' code.

    Args:
        in_channels: Channels of the student's feature; none for a teacher.
        out_channels: Channels of the teacher's; none for a teacher.
    """

    def __init__(self, in_channels: int | None = None, out_channels: int | None = None) -> None:
        super().__init__()
        self.connector: nn.Module = nn.Identity()
        if in_channels is not None and out_channels is not None:
            self.connector = Conv1x1(in_channels, out_channels)

    def forward(self, feature: Tensor) -> Tensor:
        """Map a feature of shape ``(N, C, H, W)`` to ``(N, C, C)``."""
        feature = self.connector(feature)
        # Sums over all positions go beyond the range of float16, to which autocast would turn the product.
        with torch.autocast(feature.device.type, enabled=False):
            return channel_correlation(full_precision(feature)) / feature.shape[1] ** 0.5
