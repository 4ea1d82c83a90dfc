"""What may stand in a distiller's config."""

from collections.abc import Sequence

import torch

from ..nearest import nearest

__all__ = [
    'COMPARED',
    'METHOD',
    'NORM_MODES',
    'PAIR',
    'PARTS',
    'check_norm_mode',
    'check_settings',
    'check_shape',
    'half_precision',
]

COMPARED = ('teacher_transform', 'student_transform', 'loss')
PARTS = ('position', *COMPARED)
METHOD = (*PARTS, 'without_activation', 'weight', 'hooks', 'norm_mode', 'pairs', 'logits')
PAIR = ('student', 'teacher', 'stage', 'resize', 'classes', 'weight', *PARTS)

NORM_MODES = ('batch', 'running')  # which statistics the teacher's batch norms use

HALVES = dict(bfloat16=torch.bfloat16, float16=torch.float16)


def check_settings(key: str, settings: dict, known: Sequence[str]) -> None:
    """Refuse a setting that nobody would read.

    Args:
        key: What to call the dict.
        settings: The dict.
        known: The settings that there are.

    Raises:
        TypeError: If it is not a dict.
        ValueError: If it has another setting.
    """
    if not isinstance(settings, dict):
        raise TypeError(f'{key} must be a dict with some of {", ".join(known)}, got {settings!r}')
    for name in settings:
        if name not in known:
            raise ValueError(f'{key} has no setting {name!r}{nearest(name, known)}')


def check_shape(shape: object) -> None:
    """Refuse an ``input_shape`` that is no size.

    Args:
        shape: As the config has it.

    Raises:
        ValueError: If it is not two whole numbers above 0.
    """
    sides = shape if isinstance(shape, Sequence) and not isinstance(shape, str) else ()
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f'input_shape must be (H, W) in pixels, such as (300, 300); got {shape!r}')


def check_norm_mode(key: str, mode: object) -> None:
    """Refuse statistics that there are not.

    Args:
        key: What to call the setting.
        mode: As the config has it.

    Raises:
        ValueError: If it is none of :data:`NORM_MODES`.
    """
    if mode not in NORM_MODES:
        raise ValueError(f'{key} must be {" or ".join(map(repr, NORM_MODES))}, got {mode!r}')


def half_precision(key: str, name: str | None) -> torch.dtype | None:
    """The dtype of half precision that a setting names, or None if it names none.

    Args:
        key: What to call the setting.
        name: ``'bfloat16'``, ``'float16'`` or None.

    Raises:
        ValueError: If it is another one.
    """
    if name is not None and name not in HALVES:
        raise ValueError(f'{key} must be {" or ".join(map(repr, HALVES))}, got {name!r}')
    return HALVES[name] if name else None
