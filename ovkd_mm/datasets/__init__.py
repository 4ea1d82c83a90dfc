"""Data sets and what loads them: ``VOCDataset`` needs mmdet, the others mmseg; either toolkit may be missing."""

from importlib.util import find_spec

__all__ = []

if find_spec('mmdet'):
    from .voc import VOCDataset

    __all__ += ['VOCDataset']

if find_spec('mmseg'):
    from .load_mask import LoadMask
    from .pascal_voc import PascalVOCDataset

    __all__ += ['LoadMask', 'PascalVOCDataset']
