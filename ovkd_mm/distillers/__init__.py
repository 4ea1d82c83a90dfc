"""The mm model, its teacher and its pairs."""

from ..checkpoints.stock_keys import from_stock, rename_keys, to_stock
from .feature_distiller import FeatureDistiller
from .feature_pair import FeaturePair
from .teacher import Teacher

__all__ = ['FeatureDistiller', 'FeaturePair', 'Teacher', 'from_stock', 'rename_keys', 'to_stock']
