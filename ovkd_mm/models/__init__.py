"""Networks that the paper needs and the toolkits lack."""

from typing import Any

from ..registry import MODELS
from .mobilenet_v1 import MobileNetV1

__all__ = ['MobileNetV1']


@MODELS.register_module('DeepLabV3PlusHead')
def build_deeplabv3plus_head(**kwargs: Any):
    """Build the head, imported only now: it needs mmseg, and this room is opened for every model of ours."""
    from .deeplabv3plus_head import DeepLabV3PlusHead

    return DeepLabV3PlusHead(**kwargs)
