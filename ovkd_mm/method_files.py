"""The files of methods, by their names."""

from collections.abc import Sequence

from mmengine.config import Config

from .config_files import CONFIGS
from .nearest import nearest

__all__ = ['METHODS', 'default_method', 'method_names', 'methods_of', 'read_method', 'summed']

METHODS = CONFIGS / '_base_' / 'methods'


def method_names() -> list[str]:
    """The names of all files of methods."""
    return sorted(path.stem for path in METHODS.glob('*.py'))


def read_method(name: str, others: str = '') -> dict:
    """The four parts that a file of ``_base_/methods`` holds.

    Args:
        name: Name of the file, without its suffix.
        others: Text to add to the error if there is no such file.

    Raises:
        ValueError: If there is no such file. The message names the nearest ones.
    """
    if name not in method_names():
        raise ValueError(f'unknown method {name!r}{nearest(str(name), method_names())}{others}')
    return Config.fromfile(METHODS / f'{name}.py').method


def summed(name: str) -> list[str]:
    """The names of the methods in a sum, such as ``ofd+kd``; of one method its own."""
    return name.split('+')


def methods_of(setting: str | dict | Sequence[str | dict]) -> list[dict]:
    """The methods that a distiller's ``method`` asks for.

    Args:
        setting: A method, the name of a file of methods, or a list of these.

    Raises:
        ValueError: If there is no such file, or no method.
        TypeError: If ``setting`` is anything else.
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
