"""Numbers that a config sets."""

import math
from typing import Any

__all__ = ['number']


def number(key: str, value: Any, above: bool = False, whole: bool = False, otherwise: str = '') -> Any:
    """A setting that has to be a number of 0 or more.

    Args:
        key: What to call it.
        value: What the config says.
        above: Whether it must be greater than 0.
        whole: Whether only a whole number will do.
        otherwise: What else it may be, for the message.

    Returns:
        The value.

    Raises:
        ValueError: If it is no such number.
    """
    kinds = int if whole else (int, float)
    fits = isinstance(value, kinds) and not isinstance(value, bool) and value < math.inf
    if not fits or value < 0 or (above and value == 0):
        bound = 'above 0' if above else 'from 0 up'
        raise ValueError(f'{key} must be a {"whole " * whole}number {bound}{otherwise}, got {value!r}')
    return value
