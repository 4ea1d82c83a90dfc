"""Runs a function when a module is imported, without importing it."""

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

Callback = Callable[[ModuleType], None]


def when_imported(name: str, callback: Callback) -> None:
    """Call ``callback(module)`` as soon as a module has been imported, at once if it is already.

    The callback runs again when the module is reloaded, so it must tolerate being called twice with one module. What it
    raises comes out of the ``import`` statement.

    Args:
        name: Full name of the module, ``'package.module'``.
        callback: What to do with the module.
    """
    callbacks = _FINDER.callbacks.setdefault(name, [])
    if callback in callbacks:
        return
    callbacks.append(callback)
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    if sys.modules.get(name) is not None:
        callback(importlib.import_module(name))  # waits where another thread is still importing it


class _Finder(MetaPathFinder):
    """Finds the awaited modules through the finders behind it, and wraps their loaders."""

    def __init__(self) -> None:
        self.callbacks: dict[str, list[Callback]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.callbacks:
            return None
        # Only those behind: the ones before have passed, and two such hooks must not ask each other for ever.
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            spec = finder.find_spec(fullname, path, target) if hasattr(finder, 'find_spec') else None
            if spec is not None:
                if hasattr(spec.loader, 'exec_module'):
                    spec.loader = cast(Loader, _Loader(spec.loader, self.callbacks[fullname]))
                return spec
        return None


class _Loader:
    """The real loader in all but one thing: after running the module it calls the callbacks."""

    def __init__(self, loader: Any, callbacks: list[Callback]) -> None:
        self._loader = loader
        self._callbacks = callbacks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        # From here on nobody needs the wrapper; tools that look at the loader's type see the real one.
        module.__loader__ = cast(ModuleSpec, module.__spec__).loader = self._loader
        self._loader.exec_module(module)
        for callback in self._callbacks:
            callback(module)


_FINDER = _Finder()

__all__ = ['when_imported']
