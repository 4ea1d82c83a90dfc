"""The mm model, its teacher and its pairs."""

from .feature_distiller import FeatureDistiller
from .feature_pair import FeaturePair
from .teacher import Teacher

__all__ = ['FeatureDistiller', 'FeaturePair', 'Teacher']
