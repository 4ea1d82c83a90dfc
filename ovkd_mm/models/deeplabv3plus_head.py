"""DeepLabV3PlusHead: the head of the paper's segmentation experiments."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads import ASPPHead
from mmseg.models.utils import resize
from torch import Tensor, nn

__all__ = ['DeepLabV3PlusHead']


class DeepLabV3PlusHead(ASPPHead):
    """DeepLabV3+ (Chen et al. 2018, https://arxiv.org/abs/1802.02611, figure 2) with plain 3x3 convolutions throughout.

    mmseg's ``DepthwiseSeparableASPPHead`` has separable ones, and a 3x3 projection after the ASPP. Two modules end in a
    ReLU and are places where a feature can be read: ``bottleneck``, the ASPP's 1x1 projection, at the size of the deep
    input, and ``decoder``, two 3x3 convolutions, at the size of the low-level one.

    Args:
        c1_in_channels: Channels of the low-level feature, which is the first input.
        c1_channels: Channels that it is brought down to before it meets the ASPP.
        dilations: Rates of the ASPP's convolutions; 1 stands for a 1x1 convolution.
        **kwargs: As mmseg's heads have them: ``in_channels`` (of the deep feature), ``channels``, ``num_classes``,
            ``norm_cfg``, ``align_corners``, ``dropout_ratio`` (before the classifier), ``loss_decode`` and so on.
    """

    def __init__(
        self,
        c1_in_channels: int,
        c1_channels: int = 48,
        dilations: Sequence[int] = (1, 6, 12, 18),
        **kwargs: Any,
    ) -> None:
        super().__init__(dilations=dilations, **kwargs)
        cfg = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        self.bottleneck = ConvModule((len(dilations) + 1) * self.channels, self.channels, 1, **cfg)
        self.bottleneck_dropout = nn.Dropout(0.5)
        self.c1_bottleneck = ConvModule(c1_in_channels, c1_channels, 1, **cfg)
        self.decoder = nn.Sequential(
            ConvModule(self.channels + c1_channels, self.channels, 3, padding=1, **cfg),
            nn.Dropout(0.5),
            ConvModule(self.channels, self.channels, 3, padding=1, **cfg),
        )
        # Of single values, like the two above; mmseg's drops whole channels.
        self.dropout = nn.Dropout(self.dropout_ratio)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """What the classifier gets.

        Args:
            inputs: The low-level feature, shape ``(N, c1_in_channels, H, W)``, first, and the deep one, shape
                ``(N, in_channels, h, w)``, at ``in_index`` (the last by default).

        Returns:
            A feature of shape ``(N, channels, H, W)``.
        """
        x = self.bottleneck_dropout(super()._forward_feature(inputs))  # (N, channels, h, w)
        low_level = self.c1_bottleneck(inputs[0])  # (N, c1_channels, H, W)
        x = resize(x, size=low_level.shape[2:], mode='bilinear', align_corners=self.align_corners, warning=False)
        return self.decoder(torch.cat([x, low_level], dim=1))
