"""Networks that the paper needs and the toolkits lack."""

from .mobilenet_v1 import MobileNetV1

__all__ = ['MobileNetV1']
