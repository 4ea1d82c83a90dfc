"""Telling a user's mistake, which takes a sentence, from a fault, which takes a traceback."""

import errno
import linecache
import re
import traceback
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

from ..toolkits import TOOLKITS
from .explain import (
    BUILD,
    WEIGHTS,
    cannot_be_built,
    cannot_be_downloaded,
    no_such_weights,
    refused_by_what_was_built,
    unknown_setting,
)

__all__ = ['mistake']

PACKAGE = Path(__file__).resolve().parents[1]
OURS = (PACKAGE, PACKAGE.parent / 'tools')
UPSTREAM = {'mmengine', 'mmcv', *TOOLKITS}
# Where the toolkits deal with what the user wrote or has; what a runner refuses are its own arguments.
DEALING_WITH_USERS = ('mmengine/config/', 'mmengine/registry/', 'mmengine/dataset/', 'mmdet/engine/hooks/')
RUNNER = 'mmengine/runner/'
# How a download fails.
CONNECTIONS = (URLError, HTTPException, ConnectionError, TimeoutError)
FULL = (errno.ENOSPC, errno.EDQUOT)
KINDS = (
    ValueError,
    TypeError,
    KeyError,
    OSError,
    ImportError,
    NotImplementedError,
    AssertionError,
    RuntimeError,
    HTTPException,
)

# How torch hands on what a loading process raised.
FROM_A_WORKER = re.compile(r'Caught \w+ in DataLoader worker process \d+\.\nOriginal Traceback .*\n', re.DOTALL)
FRAME = re.compile(r'^  File "(.+)", line (\d+), in .*$', re.MULTILINE)


def mistake(error: Exception) -> str | None:
    """The sentence for a user's mistake; None for a fault.

    An error is a mistake if it was raised on purpose: by a ``raise`` of ours; by a toolkit's ``raise`` or ``assert``
    with a message while it reads a config, builds what one names or loads data; or by the system, if it names a file or
    a disk is full. So are a config key that is unknown to the class built with it, and a download that fails without a
    network. An error that comes about otherwise, such as a ``ValueError`` of torch or a ``TypeError`` of an operation,
    is a fault. What a loading process raised counts as if it had been raised here.

    Args:
        error: What ended a tool.
    """
    if not isinstance(error, KINDS):
        return None
    frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    message = _message(error)
    if FROM_A_WORKER.match(message):
        found = list(FRAME.finditer(message))
        frames = [*frames, *((match[1], int(match[2])) for match in found)]
        # After the last frame come its lines of code and then '<class of the error>: <message>'.
        said = re.search(r'^[\w.]+: (.*)', message[found[-1].end() :], re.MULTILINE | re.DOTALL)
        message = said[1].strip() if said else ''
    if not frames or not message:
        return None
    file, line = Path(frames[-1][0]), linecache.getline(*frames[-1]).strip()
    if answer := unknown_setting(error, message):
        return answer
    if isinstance(error, CONNECTIONS):
        return cannot_be_downloaded(error)
    if isinstance(error, KeyError) and file.as_posix().endswith(WEIGHTS):
        return no_such_weights(error)
    if file.as_posix().endswith(BUILD):
        return cannot_be_built(error, message)
    by_the_system = isinstance(error, OSError) and (error.filename is not None or error.errno in FULL)
    if any(folder in file.resolve().parents for folder in OURS):
        refused = line.startswith('raise ') and type(error) is not RuntimeError
        return message if refused or by_the_system else None
    dealing = any(room in Path(name).as_posix() for name, _ in frames for room in DEALING_WITH_USERS)
    refused = (
        bool(UPSTREAM.intersection(file.parts))
        and line.startswith(('raise ', 'assert '))
        and (dealing or RUNNER in file.as_posix())
    )
    return refused_by_what_was_built(error, message) if refused or by_the_system else None


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f'{str(error.filename)!r}: {error.strerror}'
    if isinstance(error, OSError) and error.errno in FULL:
        return f'{error.strerror}; make room on the disk that is written to'
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
