"""Finds installed packages without ``pkg_resources``, which setuptools has no longer.

mmengine asks where the package is that a config names before ``::``, and imports ``pkg_resources`` to find out. The
standard library's ``importlib.metadata`` knows the same.
"""

import os
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from types import ModuleType

# Where the functions are defined, and who has taken them from there: any of these may be imported before this package.
HOLDERS = ('mmengine.utils.package_utils', 'mmengine.utils', 'mmengine.config.config', 'mmengine.hub.hub')


def is_installed(package: str) -> bool:
    """Tell whether there is a distribution of this name, or else a module with code."""
    try:
        distribution(package)
    except PackageNotFoundError:
        spec = find_spec(package)
        return spec is not None and spec.origin is not None
    return True


def get_installed_path(package: str) -> str:
    """Find the folder of a distribution's module, or else of the module of this name.

    Raises:
        PackageNotFoundError: There is neither.
        RuntimeError: The module is a folder without code (a namespace).
        ValueError: The distribution's module has another name, which its metadata does not tell.
    """
    try:
        found = distribution(package)
    except PackageNotFoundError:
        spec = find_spec(package)
        if spec is None:
            raise
        if spec.origin is None:
            raise RuntimeError(f'{package!r} is a folder without code (a namespace package)') from None
        return os.path.dirname(spec.origin)
    path = str(found.locate_file(package))
    return path if os.path.exists(path) else str(found.locate_file(package2module(package)))


def package2module(package: str) -> str:
    """Name the first module of a distribution.

    Raises:
        PackageNotFoundError: There is no such distribution.
        ValueError: Its metadata does not tell.
    """
    names = (distribution(package).read_text('top_level.txt') or '').split()
    if not names:
        raise ValueError(f'the distribution {package!r} does not tell what its modules are called')
    return names[0]


def patch(module: ModuleType) -> None:
    """Put these functions in the place of those of mmengine that import ``pkg_resources``; a fork's do not.

    Args:
        module: One of :data:`HOLDERS`.
    """
    for function in (is_installed, get_installed_path, package2module):
        upstream = getattr(module, function.__name__, None)
        if 'pkg_resources' in getattr(getattr(upstream, '__code__', None), 'co_names', ()):
            setattr(module, function.__name__, function)


__all__ = ['HOLDERS', 'get_installed_path', 'is_installed', 'package2module', 'patch']
