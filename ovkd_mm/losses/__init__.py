"""Distances, one a file."""

from .partial_l2_loss import PartialL2Loss

__all__ = ['PartialL2Loss']
