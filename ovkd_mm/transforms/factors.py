"""Transforms of FT: the paraphraser of the teacher and the translator of the student."""

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ..functional import full_precision
from ..number import number
from ..registry import MODELS
from .base import Transform
from .normalized import normalized

__all__ = ['Paraphraser', 'Translator']


def _code_channels(channels: int, rate: float) -> int:
    if not (code := round(channels * number('rate', rate))) > 0:
        raise ValueError(f'rate={rate} leaves none of the {channels} channels of the teacher; give a higher one')
    return code


def _layers(convolution: type[nn.Conv2d | nn.ConvTranspose2d], *channels: int) -> nn.Sequential:
    """3x3 convolutions with batch norm and leaky ReLU from each number of channels to the next."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(channels):
        layers += [convolution(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers)


@MODELS.register_module()
class Paraphraser(Transform):
    """Teacher transform: the code of a convolutional auto-encoder that was trained on the teacher's feature.

    Kim et al., NeurIPS 2018, https://arxiv.org/abs/1802.04977, section 3.1: three convolutions and three transposed
    ones. ``ovkd_mm.ParaphraserHook`` trains it before the student's training begins; from then on it is frozen. It is
    saved and resumed with the checkpoint.

    Args:
        channels: Channels of the teacher's feature.
        rate: Channels of the code as a fraction of the feature's (``k``).

    Attributes:
        is_trained: Whether it was trained. The buffer ``trained`` says so in a checkpoint; this one needs no GPU sync.

    Raises:
        ValueError: If the code has no channel.
    """

    trained: Tensor

    def __init__(self, channels: int, rate: float = 0.5) -> None:
        super().__init__()
        code = _code_channels(channels, rate)
        self.encoder = _layers(nn.Conv2d, channels, channels, code, code)
        self.decoder = _layers(nn.ConvTranspose2d, code, code, channels, channels)
        self.is_trained = False
        self.register_buffer('trained', torch.tensor(False))
        # Frozen from the beginning, so that DDP does not wait for its gradients.
        self.requires_grad_(False)

    def forward(self, feature: Tensor) -> Tensor:
        """Map a feature of shape ``(N, C, H, W)`` to its code ``(N, rate * C, H, W)``.

        Raises:
            ValueError: If it was not trained.
        """
        if not self.is_trained:
            raise ValueError(
                'the Paraphraser is not trained, so its factors mean nothing: add '
                "dict(type='ovkd_mm.ParaphraserHook', epochs=...) to custom_hooks"
            )
        return self.encoder(full_precision(feature))  # of a teacher in half precision

    def reconstruction_loss(self, feature: Tensor) -> Tensor:
        """What it is trained by: the mean squared error of decoding the code, a scalar."""
        return F.mse_loss(self.decoder(self.encoder(feature)), feature)

    def finish_training(self) -> None:
        """Freeze it, and allow :meth:`forward`."""
        self.is_trained = True
        self.trained.fill_(True)
        for weight in self.parameters():
            weight.grad = None  # else the student's optimizer would step by it
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> 'Paraphraser':
        """Once trained, stay in evaluation mode."""
        return super().train(mode and not self.is_trained)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.is_trained = bool(self.trained)
        self.train(self.training)


@MODELS.register_module()
class Translator(Transform):
    """Student transform: three convolutions to the code of the teacher's :class:`Paraphraser` (section 3.2).

    Args:
        in_channels: Channels of the student's feature.
        out_channels: Channels of the teacher's feature.
        rate: As the paraphraser's.

    Raises:
        ValueError: If the code has no channel.
    """

    def __init__(self, in_channels: int, out_channels: int, rate: float = 0.5) -> None:
        super().__init__()
        code = _code_channels(out_channels, rate)
        self.encoder = _layers(nn.Conv2d, in_channels, in_channels, code, code)

    def forward(self, feature: Tensor) -> Tensor:
        """Map a feature of shape ``(N, in_channels, H, W)`` to ``(N, rate * out_channels, H, W)``.

        A single value per channel is normalized by the running statistics.
        """
        for layer in self.encoder:
            feature = normalized(layer, feature)
        return feature
