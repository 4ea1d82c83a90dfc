"""Telling a user's mistake, which takes a sentence, from a fault, which takes a traceback."""

import difflib
import inspect
import linecache
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from mmengine.config import Config
from mmengine.registry import Registry

__all__ = ['mistake']

PACKAGE = Path(__file__).resolve().parent
OURS = (PACKAGE, PACKAGE.parent / 'tools')
TOOLKITS = {'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain'}
# Where the toolkits deal with what the user wrote or has; what a runner refuses are its own arguments.
DEALING_WITH_USERS = ('mmengine/config/', 'mmengine/registry/', 'mmengine/dataset/')
RUNNER = 'mmengine/runner/'
BUILD = 'mmengine/registry/build_functions.py'
KINDS = (ValueError, TypeError, KeyError, OSError, ImportError, NotImplementedError, AssertionError, RuntimeError)

# How torch hands on what a loading process raised.
FROM_A_WORKER = re.compile(r'Caught \w+ in DataLoader worker process \d+\.\nOriginal Traceback .*\n', re.DOTALL)
FRAME = re.compile(r'^  File "(.+)", line (\d+), in .*$', re.MULTILINE)


def mistake(error: Exception) -> str | None:
    """The sentence for a user's mistake; None for a fault.

    A mistake is what somebody refuses on purpose: our code by a ``raise``, a toolkit by a ``raise`` or an ``assert``
    with a message while it reads a config, builds what one names or loads data, and the system by an error that names
    a file. An error that comes about otherwise, such as a ``ValueError`` of torch or a ``TypeError`` of an operation,
    is a fault. What a loading process raised counts as if it had been raised here.

    Args:
        error: What ended a tool.
    """
    if not isinstance(error, KINDS):
        return None
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    message = _message(error)
    if FROM_A_WORKER.match(message):
        found = list(FRAME.finditer(message))
        frames = [*frames, *((match[1], int(match[2])) for match in found)]
        # After the last frame come its lines of code and then '<class of the error>: <message>'.
        message = re.search(r'^[\w.]+: (.*)', message[found[-1].end() :], re.MULTILINE | re.DOTALL)[1].strip()
    if not frames or not message:
        return None
    file, line = Path(frames[-1][0]), linecache.getline(*frames[-1]).strip()
    if file.as_posix().endswith(BUILD):
        return _cannot_be_built(error, message)
    if any(folder in file.resolve().parents for folder in OURS):
        refused = line.startswith('raise ') and type(error) is not RuntimeError
    elif TOOLKITS.intersection(file.parts):
        dealing = any(room in Path(name).as_posix() for name, _ in frames for room in DEALING_WITH_USERS)
        refused = line.startswith(('raise ', 'assert ')) and (dealing or RUNNER in file.as_posix())
    else:
        refused = False
    return message if refused or (isinstance(error, OSError) and error.filename is not None) else None


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f'{str(error.filename)!r}: {error.strerror}'
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _cannot_be_built(error: Exception, message: str) -> str | None:
    """What is wrong with a dict of the config: its ``type`` or one of its keys."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    values = frames[-1].f_locals
    cfg, key = values['cfg'], 'type'
    where = _where(frames, cfg)
    if isinstance(error, KeyError) and isinstance(values.get('obj_type'), str):
        name = values['obj_type']
        near = _nearest(name, _registered(values['registry']))
        return f'{where}type={name!r}: there is no such {values["registry"].name}{near}'
    unknown = re.search(r"got an unexpected keyword argument '(\w+)'", message)
    missing = re.search(r'missing \d+ required .*argument', message)
    if not isinstance(error, TypeError) or not (unknown or missing):
        return message if isinstance(error, (KeyError, TypeError)) and 'obj_cls' not in values else None
    kind = values['obj_cls']
    if missing:
        return f'{where}{message}; set it in dict(type={cfg["type"]!r}, ...)'
    key = unknown[1]
    known = [name for name in inspect.signature(kind).parameters if name != 'kwargs']
    return f'{where}{key}={cfg.get(key)!r}: {kind.__name__} has no setting {key!r}{_nearest(key, known)}'


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known)
    return f'; nearest: {", ".join(near)}' if near else f'; it is none of {", ".join(known)}' if len(known) < 20 else ''


def _registered(registry: Registry) -> list[str]:
    """The names that a registry knows, and those of the toolkits with their prefix."""
    root = registry
    while root.parent is not None:
        root = root.parent
    children = [f'{scope}.{name}' for scope, child in root.children.items() for name in child.module_dict]
    return sorted({*registry.module_dict, *root.module_dict, *children})


def _where(frames: list[FrameType], cfg: dict) -> str:
    """The key of a dict in the config that a tool has read, with a dot; empty if it is not in there as it is."""
    for frame in frames:
        for config in frame.f_locals.values():
            if isinstance(config, Config):
                return next((f'{key}.' for key, value in _dicts(config.to_dict()) if key and value == cfg), '')
    return ''


def _dicts(value: object, key: str = '') -> Iterator[tuple[str, dict]]:
    if isinstance(value, dict):
        yield key, value
    for name, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _dicts(one, f'{key}.{name}' if key else str(name))
