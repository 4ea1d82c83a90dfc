"""Data sets; this room needs mmdet."""

from .voc import VOCDataset

__all__ = ['VOCDataset']
