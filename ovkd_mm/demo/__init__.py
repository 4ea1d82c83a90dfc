"""A small run of everything, end to end; this room needs mmdet."""

from .run import run_demo
from .shrink import Plan

__all__ = ['Plan', 'run_demo']
