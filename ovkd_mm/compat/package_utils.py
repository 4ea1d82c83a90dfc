"""Keeps setuptools' advice to mmengine's authors from mmengine's users.

For each package that a config names, ``is_installed`` imports ``pkg_resources`` anew, which warns each time that it is
deprecated.
"""

import functools
import warnings
from types import ModuleType
from typing import Any

WARNING = 'pkg_resources is deprecated as an API'


def mend(module: ModuleType) -> None:
    """Let the functions that look for packages import ``pkg_resources`` without that warning; others come through.

    Args:
        module: ``mmengine.config.config``, which calls them. Whoever imported it first has it mended, too.
    """
    for name in ('is_installed', 'get_installed_path'):
        function = getattr(module, name, None)
        if function is not None and not hasattr(function, '__wrapped__'):
            setattr(module, name, _without_warning(function))


def _without_warning(function: Any) -> Any:
    @functools.wraps(function)
    def quiet(*args: Any, **kwargs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', WARNING)
            return function(*args, **kwargs)

    return quiet


__all__ = ['mend']
