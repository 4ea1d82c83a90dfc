"""The model that our hooks work on."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from ..distillers import FeatureDistiller

__all__ = ['distiller_of', 'unwrapped']


def unwrapped(runner: Runner) -> nn.Module:
    """The runner's model without DDP or FSDP around it."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def distiller_of(runner: Runner, hook: Hook) -> FeatureDistiller:
    """The runner's model, for a hook that makes sense with a distiller alone.

    Raises:
        TypeError: If it is no ``FeatureDistiller``.
    """
    model = unwrapped(runner)
    if not isinstance(model, FeatureDistiller):
        raise TypeError(f'{type(hook).__name__} needs a FeatureDistiller, got {type(model).__name__}')
    return model
