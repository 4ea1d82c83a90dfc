"""Removes an old checkpoint once the new one is saved; upstream does it before, and a kill in between loses both."""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any


class _LateRemoval:
    """A file backend in all but one thing: it notes what to remove instead of doing so."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.noted: list[tuple[Callable, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.noted.append((self.backend.remove, path))

    def rmtree(self, path: str) -> None:
        self.noted.append((self.backend.rmtree, path))


def patch(checkpoint_hook: ModuleType) -> None:
    """Let ``CheckpointHook`` save before it removes what ``max_keep_ckpts`` and ``save_best`` no longer keep.

    Args:
        checkpoint_hook: ``mmengine.hooks.checkpoint_hook``.
    """
    hook = checkpoint_hook.CheckpointHook
    for name in ('_save_checkpoint_with_step', '_save_best_checkpoint'):
        upstream = getattr(hook, name)
        if not hasattr(upstream, '__wrapped__'):
            setattr(hook, name, _removing_late(upstream))


def _removing_late(save: Callable) -> Callable:
    @functools.wraps(save)
    def saving(self: Any, *args: Any, **kwargs: Any) -> None:
        backend = self.file_backend
        self.file_backend = late = _LateRemoval(backend)
        try:
            save(self, *args, **kwargs)
        finally:
            self.file_backend = backend
        settings = vars(self)  # one best checkpoint or several, according to save_best
        new = [self.last_ckpt, settings.get('best_ckpt_path'), *settings.get('best_ckpt_path_dict', {}).values()]
        for remove, path in late.noted:
            if path not in new:
                remove(path)

    return saving


__all__ = ['patch']
