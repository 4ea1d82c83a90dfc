"""PyramidNet: the largest teacher of the paper's CIFAR-100 experiments, and one of its students."""

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ..registry import MODELS
from .kaiming import KAIMING

__all__ = ['PyramidNet']


@MODELS.register_module()
class PyramidNet(BaseModule):
    """PyramidNet-depth(alpha) for CIFAR, additive (Han et al. 2017, https://arxiv.org/abs/1610.02915).

    A 3x3 convolution of 16 channels and its batch norm, then three groups ``layer1`` to ``layer3`` (strides 1, 2 and
    4), and a last batch norm and ReLU. Each of the N blocks is wider than the one before it: the k-th has
    ``16 + alpha * k / N`` channels, rounded as in its authors' code, and 4 times as many where it is a bottleneck.
    Shortcuts are identities, average pooled where the block strides and filled up with channels of zeros.

    A group ends in a sum. Its feature is read in the block that opens the next group, before the size changes: after
    the first batch norm of a basic block, after the second of a bottleneck. That of ``layer3`` is read after the last
    batch norm.

    Args:
        depth: Number of convolutions on the longest path and the classifier: ``6 n + 2`` for n basic blocks a group,
            ``9 n + 2`` for n bottlenecks.
        alpha: How many channels all blocks together add; the widening factor.
        bottleneck: Whether blocks are bottlenecks (1x1, 3x3 and 1x1) or basic (two 3x3 convolutions).
        init_cfg: As in every mmengine module; Kaiming's initialization where it is None.

    Raises:
        ValueError: If there is no network of that depth or alpha.
    """

    def __init__(
        self, depth: int, alpha: int, bottleneck: bool = False, init_cfg: dict | list[dict] | None = None
    ) -> None:
        block, convs, expansion = (_Bottleneck, 9, 4) if bottleneck else (_BasicBlock, 6, 1)
        if depth <= convs or depth % convs != 2:
            kind = 'bottlenecks' if bottleneck else 'basic blocks'
            raise ValueError(f'depth must be {convs} n + 2 with {kind}, such as {12 * convs + 2}, but it is {depth}')
        if alpha < 1:
            raise ValueError(f'alpha must be at least 1, but it is {alpha}')
        super().__init__(KAIMING if init_cfg is None else init_cfg)
        in_channels = 16
        self.conv1 = nn.Conv2d(3, in_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(in_channels)
        per_group = depth // convs
        for group in range(3):
            blocks = []
            for index in range(per_group):
                width = round(16 + alpha * (group * per_group + index + 1) / (3 * per_group))
                blocks.append(block(in_channels, width, stride=2 if group and not index else 1))
                in_channels = width * expansion
            self.add_module(f'layer{group + 1}', nn.Sequential(*blocks))
        self.bn_final = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """The feature of an image batch.

        Args:
            x: Images of shape ``(N, 3, H, W)``.

        Returns:
            One feature of shape ``(N, 16 + alpha, H / 4, W / 4)``, with 4 times the channels if of bottlenecks.
        """
        x = self.bn1(self.conv1(x))
        x = self.layer3(self.layer2(self.layer1(x)))
        return (self.relu(self.bn_final(x)),)


def _add_shortcut(out: Tensor, x: Tensor, stride: int) -> Tensor:
    """Add a block's input to what it computed from it, in the size and with the channels of the latter."""
    if stride != 1:
        x = F.avg_pool2d(x, stride, ceil_mode=True)
    return out + F.pad(x, (0, 0, 0, 0, 0, out.shape[1] - x.shape[1]))


class _BasicBlock(nn.Module):
    """BN, 3x3, BN, ReLU, 3x3, BN (figure 6d)."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(self.bn1(x))
        out = self.conv2(self.relu(self.bn2(out)))
        return _add_shortcut(self.bn3(out), x, self.stride)


class _Bottleneck(nn.Module):
    """BN, 1x1, BN, ReLU, 3x3, BN, ReLU, 1x1 to 4 times the width, BN."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.relu3 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn4 = nn.BatchNorm2d(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(self.bn1(x))
        out = self.conv2(self.relu2(self.bn2(out)))
        out = self.conv3(self.relu3(self.bn3(out)))
        return _add_shortcut(self.bn4(out), x, self.stride)
