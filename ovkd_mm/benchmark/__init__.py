"""How long the parts of a distilled step take."""

from .loading import images_per_second
from .run import Benchmark, benchmark

__all__ = ['Benchmark', 'benchmark', 'images_per_second']
