"""Student transform of MGD: the teacher's feature, generated from a masked one of the student."""

import torch
from torch import Tensor, nn

from ..registry import MODELS
from .base import Transform

__all__ = ['MaskedGeneration']


@MODELS.register_module()
class MaskedGeneration(Transform):
    """Random positions of the student's feature are set to 0; two convolutions generate the teacher's from the rest.

    Yang et al., ECCV 2022, https://arxiv.org/abs/2205.01529, section 3.1. Where the numbers of channels
    differ, a 1x1 convolution first maps the student's to the teacher's.

    Args:
        in_channels: Channels of the student's feature.
        out_channels: Channels of the teacher's.
        masked: Fraction of the positions set to 0, at least 0 and below 1.

    Raises:
        ValueError: If that fraction is out of range.
    """

    def __init__(self, in_channels: int, out_channels: int, masked: float = 0.65) -> None:
        super().__init__()
        if not isinstance(masked, (int, float)) or not 0 <= masked < 1:
            raise ValueError(f'MaskedGeneration.masked must be at least 0 and below 1, got {masked!r}')
        self.masked = masked
        self.align = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)
        self.generation = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )

    def forward(self, feature: Tensor) -> Tensor:
        """Map a feature of shape ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``."""
        aligned = self.align(feature)
        noise = torch.rand(len(aligned), 1, *aligned.shape[2:], device=aligned.device)
        return self.generation(aligned * (noise <= 1 - self.masked))
