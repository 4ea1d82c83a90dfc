"""Writes a checkpoint beside the old one before it takes its place, so that no kill leaves half of it.

Each save writes to a hidden file of its own, which it keeps locked: the system lets go of the lock of a process that
dies, so what is not locked was left behind by a dead one.
"""

import contextlib
import functools
import os
import secrets
import socket
import stat
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

if sys.platform == 'win32':
    fcntl = None
else:
    import fcntl

SUFFIX = '.unfinished'  # not .pth, so that nobody takes it for a checkpoint
DAY = 24 * 60 * 60
BINARY = getattr(os, 'O_BINARY', 0)  # Windows


def patch(local_backend: ModuleType) -> None:
    """Let mmengine write ``*.pth`` files this way; the next save removes what a kill leaves (see :func:`leftovers`).

    Args:
        local_backend: ``mmengine.fileio.backends.local_backend``.
    """
    upstream = local_backend.LocalBackend.put
    if hasattr(upstream, '__wrapped__'):
        return

    @functools.wraps(upstream)
    def put(self: Any, obj: bytes, filepath: str | os.PathLike) -> None:
        path = Path(os.path.realpath(filepath))  # a link stays a link
        if Path(filepath).suffix != '.pth' or (path.exists() and not path.is_file()):
            return upstream(self, obj, filepath)
        try:
            _save(obj, path)
        except OSError as error:
            why = f'{error.strerror}; the checkpoint could not be saved, an older one of this name is as it was'
            raise OSError(error.errno, why, str(path)) from error

    local_backend.LocalBackend.put = put


def leftovers(folder: Path, remove: bool = False) -> list[Path]:
    """Unfinished files that dead processes left in a folder.

    Args:
        folder: The folder.
        remove: Whether to remove them.
    """
    return [file for file in sorted(folder.glob(f'.*{SUFFIX}')) if _is_abandoned(file, remove)]


def _save(data: bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    leftovers(path.parent, remove=True)
    descriptor, unfinished = _begin(path)
    try:
        with os.fdopen(descriptor, 'wb') as file:
            if path.exists():
                unfinished.chmod(stat.S_IMODE(path.stat().st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # Windows moves no open file; elsewhere the lock is needed until it has its place
            os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)  # a full disk gets its room back
    _sync_folder(path.parent)


def _begin(path: Path) -> tuple[int, Path]:
    """A new file beside ``path``, locked."""
    while True:
        unfinished = path.with_name(f'.{path.name[:40]}{_here()}{secrets.token_hex(4)}{SUFFIX}')
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, 0o666)
        _lock(descriptor, wait=True)
        if unfinished.exists():
            return descriptor, unfinished
        os.close(descriptor)  # before it was locked, another save took it for a leftover


def _here() -> str:
    """The part of a name that tells the machine."""
    return f'.{socket.gethostname()[:63]}.'


def _is_abandoned(file: Path, remove: bool) -> bool:
    try:
        with file.open('rb') as opened:
            certain = _lock(opened.fileno(), wait=False) and _here() in file.name
            # A lock may not reach from machine to machine, and some network file systems have none.
            if not certain and time.time() - file.stat().st_mtime < DAY:
                return False
            if remove:
                file.unlink()  # while it is locked: a writer that comes just now sees that it is gone
            return True
    except OSError:  # locked by its writer, gone in between, or another user's
        return False


def _lock(descriptor: int, wait: bool) -> bool:
    """Lock a file, waiting (a writer, its own file) or only trying (a reader); returns whether the system has locks.

    Raises:
        BlockingIOError: If the reader finds it locked by its writer.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Let the new name reach the disk, where the system can do this for a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def draft_of(name: str) -> str:
    """What the names of :func:`write_whole`'s drafts begin with; a kill may leave one.

    Args:
        name: The file's.
    """
    return f'.{name}.'


def write_whole(file: Path, text: str) -> None:
    """Write a text file atomically: it appears whole or not at all.

    Args:
        file: The file; for a moment a draft lies beside it, ``.<name>.<random>.tmp``.
        text: Its content.
    """
    draft = file.with_name(f'{draft_of(file.name)}{secrets.token_hex(4)}.tmp')
    try:
        with draft.open('w', encoding='utf-8') as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())  # else a power cut may leave the name without the text
        os.replace(draft, file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error
    finally:
        draft.unlink(missing_ok=True)


__all__ = ['draft_of', 'leftovers', 'patch', 'write_whole']
