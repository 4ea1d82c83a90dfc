"""Searching a method, its weight and its pairs on a part of the schedule."""

from .run import tune
from .space import Space, space_of

__all__ = ['Space', 'space_of', 'tune']
