"""The paper's segmentation networks written out with torch's functions, on the weights of a state dict."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

# Expansion, channels, blocks, stride, dilation of MobileNetV2's stages at output stride 16.
MOBILENET_V2 = (
    (1, 16, 1, 1, 1),
    (6, 24, 2, 2, 1),
    (6, 32, 3, 2, 1),
    (6, 64, 4, 2, 1),
    (6, 96, 3, 1, 1),
    (6, 160, 3, 1, 1),
    (6, 320, 1, 1, 2),
)
# Blocks of each stage, dilations of the last stage's blocks.
RESNET = {18: ((2, 2, 2, 2), (2, 2)), 101: ((3, 4, 23, 3), (2, 4, 8))}


class DeepLabByHand:
    """Batch norms take the batch's statistics, dropout is off; ``features`` are the paper's six, before their ReLU."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state
        self.features: list[Tensor] = []

    def conv(self, x: Tensor, name: str, stride: int = 1, dilation: int = 1, groups: int = 1) -> Tensor:
        weight = self.state[f'{name}.weight']
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, self.state.get(f'{name}.bias'), stride, padding, dilation, groups)

    def norm(self, x: Tensor, name: str) -> Tensor:
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
        weight, bias = (self.state[f'{name}.{key}'][:, None, None] for key in ('weight', 'bias'))
        return (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias

    def unit(self, x: Tensor, name: str, **conv: int) -> Tensor:
        """A convolution and its batch norm."""
        return self.norm(self.conv(x, f'{name}.conv', **conv), f'{name}.bn')

    def resnet(self, x: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        """The low-level feature and the deep one."""
        blocks, last_dilations = RESNET[depth]
        x = self.norm(self.conv(x, 'backbone.conv1', stride=2), 'backbone.bn1').relu()
        x = F.max_pool2d(x, 3, 2, 1)
        for stage, count in enumerate(blocks, start=1):
            for block in range(count):
                name = f'backbone.layer{stage}.{block}'
                stride = 2 if block == 0 and stage in (2, 3) else 1
                dilation = last_dilations[block] if stage == 4 else 1
                # Of the two or three convolutions one has the stride and the dilation: the first that is 3x3.
                strided, count_convs = (1, 2) if depth == 18 else (2, 3)
                out = x
                for index in range(1, count_convs + 1):
                    given = dict(stride=stride, dilation=dilation) if index == strided else {}
                    out = self.norm(self.conv(out, f'{name}.conv{index}', **given), f'{name}.bn{index}')
                    if index < count_convs:
                        out = out.relu()
                if f'{name}.downsample.0.weight' in self.state:
                    x = self.norm(self.conv(x, f'{name}.downsample.0', stride=stride), f'{name}.downsample.1')
                before_relu = out + x
                x = before_relu.relu()
            self.features.append(before_relu)
            if stage == 1:
                low_level = x
        return low_level, x

    def mobilenet_v2(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The low-level feature and the deep one."""
        x = F.relu6(self.unit(x, 'backbone.conv1', stride=2))
        for stage, (expansion, channels, count, first_stride, dilation) in enumerate(MOBILENET_V2, start=1):
            for block in range(count):
                name = f'backbone.layer{stage}.{block}.conv'
                hidden, index = x, 0
                if expansion > 1:
                    hidden, index = self.unit(x, f'{name}.0'), 1
                    if block == 0 and stage in (3, 4, 6):
                        self.features.append(hidden)
                    hidden = F.relu6(hidden)
                stride = first_stride if block == 0 else 1
                depthwise = dict(stride=stride, dilation=dilation, groups=hidden.shape[1])
                hidden = F.relu6(self.unit(hidden, f'{name}.{index}', **depthwise))
                out = self.unit(hidden, f'{name}.{index + 1}')
                x = x + out if stride == 1 and x.shape[1] == channels else out
            if stage == 2:
                low_level = x
        self.features.append(x)
        return low_level, x

    def head(self, low_level: Tensor, x: Tensor) -> Tensor:
        """Logits of the low-level feature's size."""
        pooled = self.unit(x.mean((2, 3), keepdim=True), 'decode_head.image_pool.1').relu()
        pyramid = [pooled.expand(-1, -1, *x.shape[2:])]
        for index, dilation in enumerate((1, 6, 12, 18)):
            pyramid.append(self.unit(x, f'decode_head.aspp_modules.{index}', dilation=dilation).relu())
        aspp = self.unit(torch.cat(pyramid, 1), 'decode_head.bottleneck')
        low_level = self.unit(low_level, 'decode_head.c1_bottleneck').relu()
        x = F.interpolate(aspp.relu(), low_level.shape[2:], mode='bilinear', align_corners=True)
        x = self.unit(torch.cat([x, low_level], 1), 'decode_head.decoder.0').relu()
        last = self.unit(x, 'decode_head.decoder.2')
        self.features += [aspp, last]
        return self.conv(last.relu(), 'decode_head.conv_seg')
