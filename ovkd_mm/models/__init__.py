"""Networks that the paper needs and the toolkits lack."""

from typing import Any

from torch import nn

from ..registry import MODELS
from .mobilenet_v1 import MobileNetV1
from .pyramid_net import PyramidNet
from .wide_resnet import WideResNet

__all__ = ['MobileNetV1', 'PyramidNet', 'WideResNet']


# These two need a toolkit and are imported only when they are built, since this room is opened for every model of ours.
@MODELS.register_module('CifarResNet')
def build_cifar_resnet(**kwargs: Any) -> nn.Module:
    """Build the backbone, which is made of mmpretrain's."""
    from .cifar_resnet import CifarResNet

    return CifarResNet(**kwargs)


@MODELS.register_module('DeepLabV3PlusHead')
def build_deeplabv3plus_head(**kwargs: Any) -> nn.Module:
    """Build the head, which is made of mmseg's."""
    from .deeplabv3plus_head import DeepLabV3PlusHead

    return DeepLabV3PlusHead(**kwargs)
