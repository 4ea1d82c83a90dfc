"""A folder that belongs to one study, and to one process at a time."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from ..checkpoints.atomic_save import draft_of, write_whole

__all__ = ['claimed']

NOTE, LOCK = 'study.json', 'study.lock'


@contextlib.contextmanager
def claimed(work_dir: Path, recipe: dict) -> Iterator[int]:
    """Claim a folder, or find it claimed for the same study, for as long as we or a training of ours run.

    Args:
        work_dir: The folder.
        recipe: Identifies the study; serializable as JSON.

    Yields:
        The file descriptor of the lock, for children to hold open, too.

    Raises:
        ValueError: If it is another study's, holds something else, or another process is at work in it.
    """
    note = work_dir / NOTE
    found = _read(note)
    if found != recipe and work_dir.is_dir() and any(map(_is_foreign, work_dir.iterdir())):
        if found is None:
            raise ValueError(f'{work_dir} holds something else than a study; name another with --work-dir')
        keys = [key for key in {**found, **recipe} if found.get(key) != recipe.get(key)]
        theirs, ours = (', '.join(f'{key}={one.get(key)}' for key in keys) for one in (found, recipe))
        raise ValueError(f'{work_dir} holds a study with {theirs}, not with {ours}; name another with --work-dir')
    work_dir.mkdir(parents=True, exist_ok=True)
    lock = os.open(work_dir / LOCK, os.O_CREAT | os.O_RDWR)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ValueError(
                f'{work_dir}: another call, or a training that it left behind, is at work here; '
                'wait for it, end it, or name another --work-dir'
            ) from exc
        if found != recipe:
            write_whole(note, json.dumps(recipe))
        yield lock
    finally:
        os.close(lock)


def _is_foreign(file: Path) -> bool:
    return file.name not in (NOTE, LOCK) and not file.name.startswith(draft_of(NOTE))


def _read(note: Path) -> dict | None:
    try:
        return json.loads(note.read_text()) if note.is_file() else None
    except ValueError as error:
        raise ValueError(f'{note} cannot be read ({error}); name another folder with --work-dir') from error
