"""Checkpoint keys: the student's as the plain student has them, all others under ``distiller.``."""

from collections.abc import Callable

__all__ = ['DISTILLER', 'from_stock', 'rename_keys', 'to_stock']

DISTILLER = 'distiller.'  # the prefix of all keys that are not the student's


def to_stock(name: str) -> str:
    """``student.x`` becomes ``x``, any other ``y`` becomes ``distiller.y``."""
    return name.removeprefix('student.') if name.startswith('student.') else f'{DISTILLER}{name}'


def from_stock(name: str) -> str:
    """The way back from :func:`to_stock`."""
    return name.removeprefix(DISTILLER) if name.startswith(DISTILLER) else f'student.{name}'


def rename_keys(state_dict: dict, prefix: str, rename: Callable[[str], str]) -> None:
    """Rename what follows ``prefix`` in the keys of a state dict, in place and in their order.

    Its metadata (module path -> version) is renamed with it: by the version modules such as deformable convolutions
    tell old checkpoints from new ones.
    """
    for key in [key for key in state_dict if key.startswith(prefix)]:
        state_dict[prefix + rename(key.removeprefix(prefix))] = state_dict.pop(key)
    metadata = getattr(state_dict, '_metadata', None) or {}
    for path in [path for path in metadata if path and path.startswith(prefix)]:
        metadata[(prefix + rename(f'{path.removeprefix(prefix)}.')).removesuffix('.')] = metadata.pop(path)
