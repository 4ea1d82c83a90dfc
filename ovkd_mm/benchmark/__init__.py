"""How long the parts of a distilled step take."""

from .loading import images_per_second
from .run import Benchmark, benchmark, with_last_pairs

__all__ = ['Benchmark', 'benchmark', 'images_per_second', 'with_last_pairs']
