"""The files of methods, by their names."""

import difflib
from pathlib import Path

from mmengine.config import Config

from ..config_files import PACKAGE, SHIPPED

__all__ = ['METHODS', 'default_method', 'read_method']

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


def default_method(toolkit: str | None, input_shape: tuple[int, int]) -> str:
    """OFD with the weight that the paper gives it at such inputs.

    Args:
        toolkit: The student's ``default_scope``.
        input_shape: ``(H, W)`` in pixels.
    """
    if toolkit != 'mmpretrain':
        return 'ofd'
    return 'ofd_cifar' if max(input_shape) <= 64 else 'ofd_imagenet'
