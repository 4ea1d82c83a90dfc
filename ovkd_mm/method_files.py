"""The files of methods, by their names."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from .config_files import PACKAGE, SHIPPED

__all__ = ['METHODS', 'default_method', 'methods_of', 'read_method']

METHODS = PACKAGE / SHIPPED / '_base_' / 'methods'


def read_method(name: str, folder: Path = METHODS, others: str = '') -> dict:
    """The four parts that a file of the folder holds.

    Args:
        name: Of the file, without its ending.
        folder: Where it lies.
        others: What to say besides where there is none.

    Raises:
        ValueError: If there is no such file. The message names the nearest ones.
    """
    names = sorted(path.stem for path in folder.glob('*.py'))
    if name not in names:
        near = difflib.get_close_matches(str(name), names) or names
        raise ValueError(f'unknown method {name!r}; nearest: {", ".join(near)}{others}')
    return Config.fromfile(folder / f'{name}.py').method


def methods_of(setting: str | dict | Sequence[str | dict]) -> list[dict]:
    """The methods that a distiller's ``method`` asks for.

    Args:
        setting: A method, the name of a file of methods, or a list of these.

    Raises:
        ValueError: If there is no such file, or no method.
        TypeError: If something else stands there.
    """
    several = setting if isinstance(setting, (list, tuple)) else [setting]
    if not several:
        raise ValueError("method is empty; name a file of configs/_base_/methods, such as method='ofd'")
    found = []
    for index, one in enumerate(several):
        method = read_method(one) if isinstance(one, str) else one
        if not isinstance(method, dict):
            what = f'method[{index}]' if several is setting else 'method'
            raise TypeError(f'{what} must be a dict of parts or the name of a file of methods, got {method!r}')
        found.append(method)
    return found


def default_method(toolkit: str | None, input_shape: tuple[int, int]) -> str:
    """OFD with the weight that the paper gives it at such inputs.

    Args:
        toolkit: The student's ``default_scope``.
        input_shape: ``(H, W)`` in pixels.
    """
    if toolkit != 'mmpretrain':
        return 'ofd'
    return 'ofd_cifar' if max(input_shape) <= 64 else 'ofd_imagenet'
