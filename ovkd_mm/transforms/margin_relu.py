"""Teacher transform of OFD: the margin ReLU."""

import torch
from mmengine.dist import all_reduce
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ..functional import batch_norm_margin, margin_relu
from ..fused import negatives
from ..registry import MODELS
from .base import Transform

__all__ = ['MarginReLU']


@MODELS.register_module()
class MarginReLU(Transform):
    """Margin ReLU: keeps positive responses and replaces negative ones below the margin by the margin (section 3.2).

    With a batch norm before the activation the margin is its expected negative response in closed form. Without one
    (VGG) it is the mean of the negative responses seen in training so far, per channel and over all processes; that
    running margin is saved and resumed with the checkpoint. The same applies to a group or layer norm, which normalizes
    channels of one image together: its shift and scale are not the mean and deviation of a channel over all images.

    Args:
        channels: Number of channels of the teacher's feature.
        norm: The batch norm that feeds the teacher's place, its weights already loaded; ``None`` for running margins.
    """

    margin: Tensor
    negatives: Tensor

    def __init__(self, channels: int, norm: _BatchNorm | None = None) -> None:
        super().__init__()
        self.running = norm is None
        if norm is None:
            margin = torch.zeros(channels)
            self.register_buffer('negatives', torch.zeros(channels, dtype=torch.long))
        else:
            scale = torch.ones(channels) if norm.weight is None else norm.weight
            shift = torch.zeros_like(scale) if norm.bias is None else norm.bias
            margin = batch_norm_margin(scale, shift)
        # A closed-form margin follows from the teacher and is not saved, so that it cannot outlive its teacher.
        self.register_buffer('margin', margin, persistent=self.running)

    def forward(self, feature: Tensor) -> Tensor:
        """Transform the teacher's feature.

        Args:
            feature: Pre-activation feature, shape ``(N, C, H, W)``.

        Returns:
            Tensor of the same shape.
        """
        return margin_relu(feature, self.margins(feature))

    def margins(self, feature: Tensor) -> Tensor:
        """The margins for a feature ``(N, C, H, W)``, shape ``(C,)``; in training, running ones are updated first."""
        if self.running and self.training:
            self._update(feature.detach())
        return self.margin

    def _update(self, feature: Tensor) -> None:
        count, total = negatives(feature)
        all_reduce(count)
        all_reduce(total)
        # margin <- (margin * seen + total) / (seen + count), in the form that does not overflow
        self.negatives += count
        self.margin += (total - count * self.margin) / self.negatives.clamp_min(1)

    def restart(self) -> None:
        """Reset a running margin: another teacher's would hardly change, as it has counted so many responses."""
        if self.running:
            self.negatives.zero_()
            self.margin.zero_()

    def extra_repr(self) -> str:
        """Show which margin it is."""
        return f'channels={len(self.margin)}, margin={"running" if self.running else "closed form"}'
