"""Numbers that a config sets."""

import math
from typing import Any

__all__ = ['number']


def number(
    key: str, value: Any, least: float = 0, above: bool = False, whole: bool = False, otherwise: str = ''
) -> Any:
    """A setting that has to be a number.

    Args:
        key: What to call it.
        value: What the config says.
        least: The smallest.
        above: Whether it must be greater than that.
        whole: Whether only a whole number will do.
        otherwise: What else it may be, for the message.

    Returns:
        The value.

    Raises:
        ValueError: If it is no such number.
    """
    kinds = int if whole else (int, float)
    fits = isinstance(value, kinds) and not isinstance(value, bool) and value < math.inf
    if not fits or not (value > least if above else value >= least):
        bound = f'above {least}' if above else f'from {least} up'
        raise ValueError(f'{key} must be a {"whole " * whole}number {bound}{otherwise}, got {value!r}')
    return value
