"""Student transform of OFD, FitNets and AB: a 1x1 convolution with batch norm, the connector."""

import math

from torch import Tensor, nn

from ..registry import MODELS
from .base import Transform
from .normalized import normalized

__all__ = ['Conv1x1']


@MODELS.register_module()
class Conv1x1(Transform, nn.Sequential):
    """A 1x1 convolution and a batch norm, from the student's channels to the teacher's (section 3.2).

    As in the authors' code, the convolution is initialized from a normal distribution with variance
    ``2 / (k * k * out_channels)``, the batch norm with scale 1 and shift 0.

    Args:
        in_channels: Channels of the student's feature.
        out_channels: Channels of the teacher's feature.
        norm: Whether there is a batch norm; without it the convolution has a bias, as FitNets' regressor.
    """

    def __init__(self, in_channels: int, out_channels: int, norm: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=not norm)
        if norm:
            self.bn = nn.BatchNorm2d(out_channels)
        nn.init.normal_(self.conv.weight, 0, math.sqrt(2 / out_channels))

    def forward(self, feature: Tensor) -> Tensor:
        """Map a feature of shape ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``.

        A single value per channel is normalized by the running statistics.
        """
        for layer in self:
            feature = normalized(layer, feature)
        return feature
