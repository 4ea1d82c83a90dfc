"""Writes a checkpoint beside the old one before it takes its place, so that a kill leaves no half of it."""

import functools
import os
from pathlib import Path
from types import ModuleType

UNFINISHED = 'unfinished_checkpoint'  # one name for all, so that no more than one can be left behind


def mend(local_backend: ModuleType) -> None:
    """Let mmengine write ``*.pth`` files so; a kill leaves an ``unfinished_checkpoint``, which the next save replaces.

    Args:
        local_backend: ``mmengine.fileio.backends.local_backend``.
    """
    upstream = local_backend.LocalBackend.put
    if hasattr(upstream, '__wrapped__'):
        return

    @functools.wraps(upstream)
    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        path = Path(os.path.realpath(filepath))  # a link stays a link
        if path.suffix != '.pth':
            return upstream(self, obj, filepath)
        unfinished = path.with_name(UNFINISHED)
        try:
            upstream(self, obj, unfinished)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)  # a full disk gets its room back

    local_backend.LocalBackend.put = put


__all__ = ['UNFINISHED', 'mend']
