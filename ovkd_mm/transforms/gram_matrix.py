"""Transform of FSP: the Gram matrix."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..functional import full_precision, gram_matrix
from ..registry import MODELS
from .base import Transform
from .conv1x1 import Conv1x1

__all__ = ['GramMatrix']


@MODELS.register_module()
class GramMatrix(Transform):
    """Gram matrix between the two ends of a group; see :func:`ovkd_mm.functional.gram_matrix`.

    The method compares matrices of equal shape. Where a student's end has another number of channels than the
    teacher's, a :class:`Conv1x1` maps one to the other; this is our addition, since the paper assumes equal channels.

    Args:
        in_channels: Channels of both ends of the student's group; none for a teacher.
        out_channels: Channels of both ends of the teacher's; none for a teacher.

    """

    takes_span = True

    def __init__(self, in_channels: tuple[int, int] | None = None, out_channels: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.connectors = nn.ModuleList(
            nn.Identity() if channels == wanted else Conv1x1(channels, wanted)
            for channels, wanted in zip(in_channels or (), out_channels or (), strict=True)
        )

    def forward(self, feature: tuple[Tensor, Tensor]) -> Tensor:
        """Map features of shape ``(N, A, H, W)`` and ``(N, B, H', W')`` to ``(N, A, B)``."""
        ends: Sequence[Tensor] = feature
        if self.connectors:
            ends = [connector(end) for connector, end in zip(self.connectors, feature, strict=True)]
        first, last = ends
        # Sums over all positions go beyond the range of float16, to which autocast would turn the product.
        with torch.autocast(last.device.type, enabled=False):
            return gram_matrix(full_precision(first), full_precision(last))
