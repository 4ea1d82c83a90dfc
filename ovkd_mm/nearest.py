"""Naming what is near a mistyped name."""

import difflib
from collections.abc import Iterable

__all__ = ['nearest']


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that refuses a name: the nearest known ones, else all of them if they are few.

    Args:
        name: The refused one.
        known: The names that would have been right.
    """
    known = list(known)
    lowered = {one.lower(): one for one in known}
    near = [lowered[one] for one in difflib.get_close_matches(name.lower(), lowered)]
    if near:
        return f'; nearest: {", ".join(near)}'
    return f'; it is none of {", ".join(known)}' if 0 < len(known) < 20 else ''
