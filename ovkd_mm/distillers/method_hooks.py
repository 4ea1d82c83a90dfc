"""The hooks that a method brings, registered by whichever runner trains its distiller."""

import functools
from collections.abc import Callable
from typing import Any, Protocol, cast

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import FlexibleRunner, Runner
from torch import nn

__all__ = ['build_hook', 'register_before_runs', 'unwrapped']


class _BringsHooks(Protocol):
    hooks: list[dict]


def register_before_runs(kind: type[_BringsHooks]) -> None:
    """Let every runner register the hooks of a model of this kind before it runs.

    A model does not know its runner, and a list such as ``custom_hooks`` cannot be extended by a config that is one of
    several bases. So every runner checks its model, whether our tools, upstream's or a notebook made it.

    Args:
        kind: Class of models with ``hooks``, the list of their configs.
    """
    for runner in (Runner, FlexibleRunner):
        runner.call_hook = _registering(runner.call_hook, kind)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model without DDP, FSDP or test-time augmentation around it."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = cast(nn.Module, model.module)
    return model


def build_hook(cfg: dict) -> Hook:
    """Build a hook of a config without its priority, which is the runner's."""
    return HOOKS.build({key: value for key, value in cfg.items() if key != 'priority'})


def _registering(upstream: Callable, kind: type[_BringsHooks]) -> Callable:
    @functools.wraps(upstream)
    def call_hook(runner: Runner | FlexibleRunner, fn_name: str, **kwargs: Any) -> None:
        if fn_name == 'before_run':
            model = unwrapped(runner.model)
            if isinstance(model, kind):
                _register(runner, model.hooks)
        upstream(runner, fn_name, **kwargs)

    return call_hook


def _register(runner: Runner | FlexibleRunner, hooks: list[dict]) -> None:
    for index, cfg in enumerate(hooks):
        if other := next((one for one in hooks[:index] if one['type'] == cfg['type'] and one != cfg), None):
            raise ValueError(
                f'the methods of model.method bring {other} and {cfg}, of which a training can have one: give all of '
                "them the same, or set one method's hooks=[]"
            )
        hook = build_hook(cfg)
        # The config's own takes the place of the method's; and a runner may run more than once.
        if not any(type(other) is type(hook) for other in runner.hooks):
            runner.register_hook(hook, cfg.get('priority'))
            print_log(f"the method's {type(hook).__name__} is registered", logger='current')
