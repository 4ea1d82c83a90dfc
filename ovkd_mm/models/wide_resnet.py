"""WideResNet: the teacher and most students of the paper's CIFAR-100 experiments."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from ..registry import MODELS
from .kaiming import KAIMING

__all__ = ['WideResNet']


@MODELS.register_module()
class WideResNet(BaseModule):
    """Wide residual network WRN-depth-width for CIFAR (Zagoruyko & Komodakis 2016, https://arxiv.org/abs/1605.07146).

    Table 1 of its paper: a 3x3 convolution of 16 channels, three groups ``layer1`` to ``layer3`` of pre-activation
    blocks, and a last batch norm and ReLU. A group ends in a sum; its feature is read where the next group normalizes
    it, and the last group's at the last batch norm.

    ======= ======= ============ ===================== ==========
    group   stride  channels     blocks                size at 32
    ======= ======= ============ ===================== ==========
    layer1  1       16 * width   ``(depth - 4) / 6``   32
    layer2  2       32 * width   ``(depth - 4) / 6``   16
    layer3  4       64 * width   ``(depth - 4) / 6``   8
    ======= ======= ============ ===================== ==========

    Args:
        depth: Number of convolutions on the longest path and the classifier: ``6 n + 4``.
        width: What the channels of the groups are multiplied by.
        init_cfg: As in every mmengine module; Kaiming's initialization where it is None.

    Raises:
        ValueError: If there is no network of that depth or width.
    """

    def __init__(self, depth: int, width: int, init_cfg: dict | list[dict] | None = None) -> None:
        if depth < 10 or depth % 6 != 4:
            raise ValueError(f'depth must be 6 n + 4, such as 10, 16, 28 or 40, but it is {depth}')
        if width < 1:
            raise ValueError(f'width must be at least 1, but it is {width}')
        super().__init__(KAIMING if init_cfg is None else init_cfg)
        in_channels = 16
        self.conv1 = nn.Conv2d(3, in_channels, 3, padding=1, bias=False)
        for group, stride in enumerate((1, 2, 2), start=1):
            channels = 8 * width * 2**group
            blocks = []
            for _ in range((depth - 4) // 6):
                blocks.append(_Block(in_channels, channels, stride))
                in_channels, stride = channels, 1
            self.add_module(f'layer{group}', nn.Sequential(*blocks))
        self.bn = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """The feature of an image batch.

        Args:
            x: Images of shape ``(N, 3, H, W)``.

        Returns:
            One feature of shape ``(N, 64 * width, H / 4, W / 4)``.
        """
        x = self.conv1(x)
        x = self.layer3(self.layer2(self.layer1(x)))
        return (self.relu(self.bn(x)),)


class _Block(nn.Module):
    """Two 3x3 convolutions, each after a batch norm and a ReLU; a 1x1 shortcut shares the first of these."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        if stride != 1 or in_channels != channels:
            self.shortcut: nn.Conv2d | None = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
        else:
            self.shortcut = None

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(x))
        if self.shortcut is not None:
            x = self.shortcut(out)
        return x + self.conv2(self.relu2(self.bn2(self.conv1(out))))
