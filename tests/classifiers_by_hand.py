"""The paper's CIFAR networks and its loss written out plainly, on the weights of a state dict."""

import math

import torch
from scipy.stats import norm as normal
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


class ByHand:
    """Networks in float64; each returns the three features that the paper's position names, and its output.

    Args:
        state: Weights, their names after ``prefix``.
        by_batch: Whether batch norms take the batch's statistics or their running ones.
        prefix: What the names of the state dict begin with.
    """

    def __init__(self, state: dict[str, Tensor], by_batch: bool = False, prefix: str = '') -> None:
        self.state = {key.removeprefix(prefix): value.double() for key, value in state.items()}
        self.by_batch = by_batch

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.state[f'{name}.weight']
        side = weight.shape[-1]
        patches = F.unfold(x, side, padding=side // 2, stride=stride)  # (N, C * side * side, H * W)
        out = torch.einsum('of,nfp->nop', weight.flatten(1), patches)
        return out.unflatten(2, [math.ceil(size / stride) for size in x.shape[2:]])

    def norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias, mean, variance = (
            self.state[f'{name}.{key}'][:, None, None] for key in ('weight', 'bias', 'running_mean', 'running_var')
        )
        if self.by_batch:
            mean = x.mean((0, 2, 3), keepdim=True)
            variance = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def wide_resnet(self, x: Tensor, depth: int, width: int) -> tuple[list[Tensor], Tensor]:
        x = self.conv(x, 'conv1')
        features = []
        for group in (1, 2, 3):
            for block in range((depth - 4) // 6):
                name = f'layer{group}.{block}'
                stride = 2 if group > 1 and block == 0 else 1
                normed = self.norm(x, f'{name}.bn1')
                if stride == 2:
                    features.append(normed)
                active = normed.clamp_min(0)
                if block == 0 and (group > 1 or width > 1):
                    x = self.conv(active, f'{name}.shortcut', stride)
                out = self.norm(self.conv(active, f'{name}.conv1', stride), f'{name}.bn2').clamp_min(0)
                x = x + self.conv(out, f'{name}.conv2')
        features.append(self.norm(x, 'bn'))
        return features, features[-1].clamp_min(0)

    def cifar_resnet(self, x: Tensor, depth: int) -> tuple[list[Tensor], Tensor]:
        x = self.norm(self.conv(x, 'conv1'), 'bn1').clamp_min(0)
        features = []
        for group in (1, 2, 3):
            for block in range((depth - 2) // 6):
                name = f'layer{group}.{block}'
                stride = 2 if group > 1 and block == 0 else 1
                out = self.norm(self.conv(x, f'{name}.conv1', stride), f'{name}.bn1').clamp_min(0)
                out = self.norm(self.conv(out, f'{name}.conv2'), f'{name}.bn2')
                if stride == 2:
                    x = self.norm(self.conv(x, f'{name}.downsample.0', stride), f'{name}.downsample.1')
                out = out + x
                x = out.clamp_min(0)
            features.append(out)
        return features, x

    def pyramid_net(self, x: Tensor, depth: int, bottleneck: bool) -> tuple[list[Tensor], Tensor]:
        x = self.norm(self.conv(x, 'conv1'), 'bn1')
        features = []
        for group in (1, 2, 3):
            for block in range((depth - 2) // (9 if bottleneck else 6)):
                name = f'layer{group}.{block}'
                stride = 2 if group > 1 and block == 0 else 1
                first = self.norm(x, f'{name}.bn1')
                if bottleneck:
                    second = self.norm(self.conv(first, f'{name}.conv1'), f'{name}.bn2')
                    out = self.conv(second.clamp_min(0), f'{name}.conv2', stride)
                    out = self.conv(self.norm(out, f'{name}.bn3').clamp_min(0), f'{name}.conv3')
                    out = self.norm(out, f'{name}.bn4')
                else:
                    out = self.norm(self.conv(first, f'{name}.conv1', stride), f'{name}.bn2')
                    out = self.norm(self.conv(out.clamp_min(0), f'{name}.conv2'), f'{name}.bn3')
                if stride == 2:
                    features.append(second if bottleneck else first)
                    x = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4
                x = torch.cat([out[:, : x.shape[1]] + x, out[:, x.shape[1] :]], dim=1)
        features.append(self.norm(x, 'bn_final'))
        return features, features[-1].clamp_min(0)


def overhaul_loss(student: Tensor, conv: Tensor, teacher: Tensor, gamma: Tensor, beta: Tensor) -> float:
    """The authors' distance of two features, summed over everything: margins, connector and partial L2 by definition.

    Args:
        student: Feature of shape ``(N, C_s, H, W)``.
        conv: The connector's convolution, ``(C_t, C_s, 1, 1)``; its batch norm is new and normalizes by the batch.
        teacher: Feature of shape ``(N, C_t, H, W)``.
        gamma: Scales of the teacher's batch norm.
        beta: Its shifts.
    """
    mapped = torch.einsum('oi,nihw->nohw', conv.double()[:, :, 0, 0], student.double())
    mean = mapped.mean((0, 2, 3), keepdim=True)
    mapped = (mapped - mean) / (((mapped - mean) ** 2).mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    total = 0.0
    for channel, (scale, shift) in enumerate(zip(gamma.abs().tolist(), beta.tolist(), strict=True)):
        mass = normal.cdf(-shift / scale)
        margin = shift - scale * normal.pdf(shift / scale) / mass if mass > 0.001 else -3 * scale
        for s, t in zip(mapped[:, channel].flatten().tolist(), teacher[:, channel].flatten().tolist(), strict=True):
            target = max(t, margin)
            if s > target or target > 0:
                total += (s - target) ** 2
    return total


def randomise(model: torch.nn.Module) -> None:
    """Give batch norms scales, shifts and statistics that differ between channels, so that none can be left out."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.5)
            torch.nn.init.normal_(module.running_mean, 0, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
