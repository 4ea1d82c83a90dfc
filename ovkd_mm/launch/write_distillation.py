"""Writing a distillation config of a few lines."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config

from ..checkpoints.atomic_save import write_whole
from ..distillers.channel_order import ChannelOrder
from ..distillers.foreign import source_of

__all__ = ['check_free', 'distillation_text', 'write_distillation']

WIDTH = 120


def check_free(file: Path, ending: str, flag: str) -> None:
    """Refuse a file that is there, or that has another ending than it should.

    Raises:
        ValueError: If the ending is wrong, or the file is there.
    """
    if file.suffix != ending:
        raise ValueError(f'{flag} must end with {ending}, got {str(file)!r}')
    if file.exists():
        raise ValueError(f'{str(file)!r} exists and is not overwritten; choose another {flag}')
    if not file.absolute().parent.is_dir():
        raise ValueError(f'{flag} {str(file)!r}: there is no folder {str(file.parent)!r}')


def write_distillation(
    file: Path,
    student: str,
    teacher: str,
    method: str,
    places: Mapping[str, Sequence[dict]],
    input_shape: tuple[int, int],
    checkpoint: str | None = None,
    channel_order: ChannelOrder | None = None,
) -> None:
    """Write a config that is ready to train, except for a teacher's checkpoint that it needs and that is not given.

    Args:
        file: Where.
        student: A config or ``package::config`` name.
        teacher: Another one, or a name such as ``'timm::resnet50'``.
        method: Name of a file of methods.
        places: ``pairs`` or ``logits``, dicts with ``student`` and ``teacher``.
        input_shape: ``(H, W)`` in pixels.
        checkpoint: The teacher's.
        channel_order: The student's, where its preprocessor does not tell.

    Raises:
        ValueError: If the student's config is of the style of ``read_base``.
    """
    if '::' not in student and Config._is_lazy_import(student):
        raise ValueError(
            f'the written config would inherit from {student!r}, which is of the style of read_base, and only that '
            'style inherits from it; make one of the other style first, and name that: python -c "from mmengine '
            f"import Config; Config.fromfile('{student}').dump('plain_{Path(student).name}')\""
        )
    folder = file.absolute().parent
    base = student if '::' in student else _beside(student, folder)
    library, _, place = teacher.rpartition('::')
    if not library or (library == 'transformers' and Path(place).is_dir()):
        place = f'{{{{ fileDirname }}}}/{_beside(place, folder)}'
    taught = f'{library}::{place}' if library else place
    if checkpoint and Path(checkpoint).is_file():
        checkpoint = f'{{{{ fileDirname }}}}/{_beside(checkpoint, folder)}'
    write_whole(file, distillation_text(base, taught, method, places, input_shape, checkpoint, channel_order))


def distillation_text(
    student: str,
    teacher: str,
    method: str,
    places: Mapping[str, Sequence[dict]],
    input_shape: tuple[int, int],
    checkpoint: str | None,
    channel_order: ChannelOrder | None = None,
) -> str:
    """The text of such a config, at most 15 lines with up to six pairs."""
    ((key, pairs),) = places.items()
    written = [f'dict({", ".join(f"{name}={value!r}" for name, value in pair.items())}),' for pair in pairs]
    kind = ['_delete_=True,', "type='ovkd_mm.FeatureDistiller',"]
    student_model, method_parts = 'student={{_base_.model}},', 'method={{_base_.method}},'
    weights = '' if source_of(teacher) and checkpoint is None else f', checkpoint={checkpoint!r}'
    taught = f'teacher=dict(model={teacher!r}{weights}),'
    if len(written) <= 4:
        head = [*kind, student_model, taught, method_parts]
    else:
        head = [' '.join(kind), f'{student_model} {method_parts}', taught]
    if len(written) > 6:
        written = _filled(written, WIDTH - 8)
    settings = [
        *head,
        f'{key}=[',
        *(f'    {line}' for line in written),
        '],',
        f'input_shape={tuple(input_shape)!r},' + (f' channel_order={channel_order!r},' if channel_order else ''),
    ]
    base = f'_base_ = [{student!r}, {f"ovkd_mm::_base_/methods/{method}.py"!r}]'
    return '\n'.join([base, 'model = dict(', *(f'    {line}' for line in settings), ')', ''])


def _beside(config: str, folder: Path) -> str:
    """A path as seen from a folder."""
    return Path(os.path.relpath(config, folder)).as_posix()


def _filled(items: Sequence[str], width: int) -> list[str]:
    """Lines with as many items as fit."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + 1 + len(item) <= width:
            lines[-1] += f' {item}'
        else:
            lines.append(item)
    return lines
