"""Answers for names that Python and numpy have removed, in the modules of the toolkits that use them.

Only what such a module sees is patched: it gets a view of the package with the old name. ``pkgutil`` and ``numpy``
themselves stay as they are, for whoever asks them what they have.
"""

from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def _in1d(values: Any, test_values: Any) -> Any:
    import numpy

    return numpy.isin(numpy.ravel(values), test_values)


# Module: what it calls the package, the name that it asks for there, what answers.
REMOVED: dict[str, tuple[str, str, Callable]] = {
    # Deprecated in Python 3.12, gone from 3.14; only whether the answer is None is asked.
    'mmcv.utils.ext_loader': ('pkgutil', 'find_loader', find_spec),
    'mmengine.utils.dl_utils.misc': ('pkgutil', 'find_loader', find_spec),
    # Gone from numpy 1.24 and 2.4.
    'mmdet.evaluation.functional.ytviseval': ('np', 'float', float),
    'mmpretrain.evaluation.metrics.retrieval': ('np', 'in1d', _in1d),
}


def patch(module: ModuleType) -> None:
    """Give a module its view; a module (of a fork) that does not import the package is left alone.

    Args:
        module: One that :data:`REMOVED` names.
    """
    alias, name, answer = REMOVED[module.__name__]
    package = getattr(module, alias, None)
    if package is not None and not isinstance(package, _View):
        setattr(module, alias, _View(package, name, answer))


class _View(ModuleType):
    """A package as it is, but for one name."""

    def __init__(self, package: ModuleType, name: str, answer: Callable) -> None:
        super().__init__(package.__name__, package.__doc__)
        self._package = package
        setattr(self, name, answer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._package, name)


__all__ = ['REMOVED', 'patch']
