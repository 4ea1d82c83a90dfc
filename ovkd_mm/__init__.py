"""Feature distillation for mmdet, mmsegmentation and mmpretrain."""

from . import compat
from .version import __version__

compat.install()

__all__ = ['__version__']
