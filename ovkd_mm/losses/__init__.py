"""Distances, one a file."""

from .base import DistillLoss
from .cwd_loss import CWDLoss
from .dist_loss import DISTLoss
from .dkd_loss import DKDLoss
from .factor_loss import FactorLoss
from .kd_loss import KDLoss
from .l2_loss import L2Loss
from .marginal_l2_loss import MarginalL2Loss
from .partial_l2_loss import PartialL2Loss

__all__ = [
    'CWDLoss',
    'DISTLoss',
    'DKDLoss',
    'DistillLoss',
    'FactorLoss',
    'KDLoss',
    'L2Loss',
    'MarginalL2Loss',
    'PartialL2Loss',
]
