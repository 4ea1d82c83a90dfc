"""Lets ``activation_checkpointing`` of a config keep the gradient of what is read inside a checkpointed module."""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any


def patch(activation_checkpointing: ModuleType) -> None:
    """Checkpoint without re-entering autograd.

    mmengine leaves torch to choose, which warns and takes the re-entrant way: there the first forward runs without
    gradient, so a feature read inside has none. Torch recommends the other and means to demand a choice.

    Args:
        activation_checkpointing: ``mmengine.runner.activation_checkpointing``.
    """
    checkpoint = activation_checkpointing.checkpoint

    def wrap_forward(forward: Callable) -> Callable:
        @functools.wraps(forward)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return checkpoint(forward, *args, use_reentrant=False, **kwargs)

        return wrapper

    vars(activation_checkpointing).update(wrap_forward=wrap_forward)


__all__ = ['patch']
