"""Teacher and student transforms, one idea a file."""

from .conv1x1 import Conv1x1
from .margin_relu import MarginReLU

__all__ = ['Conv1x1', 'MarginReLU']
