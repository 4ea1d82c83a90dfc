"""Explaining what a toolkit, or Python, raised because of what the config holds."""

import inspect
import itertools
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from ..nearest import nearest

__all__ = [
    'BUILD',
    'WEIGHTS',
    'cannot_be_built',
    'cannot_be_downloaded',
    'no_such_weights',
    'refused_by_what_was_built',
    'unknown_setting',
]

# Where toolkits build what the config names, and load weights.
BUILD = 'mmengine/registry/build_functions.py'
WEIGHTS = 'mmengine/runner/checkpoint.py'
# What downloads pass through.
DOWNLOADING = ('urllib/request.py', 'http/client.py', 'torch/hub.py', 'checkpoints/timm_weights.py')


def cannot_be_built(error: Exception, message: str) -> str | None:
    """What is wrong with a dict of the config: its ``type``, or one of its keys that is missing."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    values = frames[-1].f_locals
    cfg = values['cfg']
    if isinstance(error, KeyError) and isinstance(values.get('obj_type'), str):
        name = values['obj_type']
        near = nearest(name, _registered(values['registry']))
        return f'{_where(frames, cfg)}type={name!r}: there is no such {values["registry"].name}{near}'
    if isinstance(error, TypeError) and re.search(r'missing \d+ required .*argument', message):
        return f'{_where(frames, cfg)}{message}; set it in dict(type={cfg["type"]!r}, ...)'
    if isinstance(error, KeyError) and 'type' not in cfg and (key := _where(frames, cfg)):
        folder, _, name = key[:-1].rpartition('.')
        beside = dict(_entries(frames))[folder]
        others = [other for other in beside if other != name] if isinstance(beside, dict) else []
        return f"{key[:-1]}={_short(dict(cfg))} has no 'type'{nearest(name, others)}"
    return message if isinstance(error, (KeyError, TypeError)) and 'obj_cls' not in values else None


def refused_by_what_was_built(error: Exception, message: str) -> str:
    """A toolkit's message, after the key of the dict that was being built, if one was."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    built = (frame.f_locals['cfg'] for frame in frames if frame.f_code.co_filename.endswith(BUILD))
    # Down to the first that is not in the config: what is in a teacher's may look like something here.
    keys = list(itertools.takewhile(bool, (_built_from(frames, cfg) for cfg in built)))
    if not keys:
        return message
    key = keys[-1]
    if late := re.search(r'end should be larger than begin, but got begin=(\S+), end=(\S+)', message):
        return (
            f"{key}.begin={late[1]} must be less than its end, {late[2]}, the training's where none is set: lower it, "
            'or train longer (train_cfg)'
        )
    return f'{key}: {message}'


def unknown_setting(error: Exception, message: str) -> str | None:
    """What is wrong where a function was given a keyword that a dict of the config holds."""
    unknown = re.search(r"([\w.]+)\(\) got an unexpected keyword argument '(\w+)'", message)
    if unknown is None or not isinstance(error, TypeError):
        return None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    key, caller = unknown[2], frames[-1]
    built = [frame.f_locals for frame in frames if frame.f_code.co_filename.endswith(BUILD)]
    if built and key in built[-1].get('args', ()) and 'obj_cls' in built[-1]:
        # Its own, or of a base class to which it hands on what it does not know.
        holder, kind = built[-1]['cfg'], built[-1]['obj_cls']
        return (
            f'{_setting(frames, holder, key)}: {kind.__name__} has no setting {key!r}{nearest(key, _parameters(kind))}'
        )
    # Handed on as **dict by who has the dict, or by an object that keeps it.
    values = list(caller.f_locals.values())
    attributes = [(one, [type(value)]) for value in values for one in getattr(value, '__dict__', {}).values()]
    for holder, kinds in [*((value, []) for value in values), *attributes]:
        if not isinstance(holder, dict) or key not in holder:
            continue
        where = _setting(frames, holder, key)
        if not where.startswith(f'{key}='):  # it is in the config
            name = kinds[0].__name__ if kinds else unknown[1].removesuffix('.__init__')
            known = [*_known_to(caller, unknown[1]), *(one for kind in kinds for one in _parameters(kind))]
            return f'{where}: {name} has no setting {key!r}{nearest(key, known)}'
    return None


def _parameters(kind: Callable) -> list[str]:
    """The keywords that a class or function takes, among them those that ``**kwargs`` hands on to base classes."""
    found = []
    for one in inspect.getmro(kind) if inspect.isclass(kind) else [kind]:
        if inspect.isclass(one) and '__init__' not in vars(one):
            continue
        try:
            parameters = inspect.signature(one.__init__ if inspect.isclass(one) else one).parameters.values()
        except ValueError:  # a builtin does not always tell
            break
        variable = inspect.Parameter.VAR_KEYWORD
        found += [each.name for each in parameters if each.kind not in (variable, inspect.Parameter.VAR_POSITIONAL)]
        if all(each.kind is not variable for each in parameters):
            break
    return [name for name in dict.fromkeys(found) if name != 'self']


def _known_to(caller: FrameType, function: str) -> list[str]:
    """The keywords of a function that a frame called by ``Class.function`` or ``function``."""
    owner, *path = function.split('.')
    kinds = {kind.__name__: kind for value in caller.f_locals.values() for kind in type(value).__mro__}
    found = caller.f_globals.get(owner, kinds.get(owner))
    for name in path:
        found = getattr(found, name, None)
    return _parameters(found) if callable(found) else []


def cannot_be_downloaded(error: Exception) -> str | None:
    """The address that could not be reached, and how to go on without."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if not any(frame.f_code.co_filename.endswith(DOWNLOADING) for frame in frames):
        return None
    names = [value for frame in frames for value in frame.f_locals.values() if isinstance(value, str)]
    addresses = [name for name in names if re.fullmatch(r'[\w-]+://\S+', name)]
    if not addresses:
        return None
    first, last = addresses[0], addresses[-1]
    address = first if first == last or first.startswith('http') else f'{first} ({last})'
    sentence = f'{address} cannot be downloaded ({getattr(error, "reason", None) or error})'
    key = _key_of(frames, first)
    if key.endswith('init_cfg.checkpoint'):
        return (
            f'{key}={sentence}: name a file that has it, --cfg-options {key}=FILE, or begin with random weights, '
            f'--cfg-options {key.removesuffix(".checkpoint")}=None'
        )
    if key and first not in sys.argv:
        return f'{key}={sentence}: name a file that has it, --cfg-options {key}=FILE'
    if first.endswith(('.pth', '.pt', '.ckpt')):
        return f'{sentence}: name a file that has it instead'
    return f'{sentence}: download it where there is a network, and put it where the config looks for it'


def no_such_weights(error: KeyError) -> str | None:
    """What is wrong with a name such as ``torchvision://resnet50``."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    values, name = frames[-1].f_locals, str(error.args[0])
    known = values.get('model_urls')
    if not isinstance(known, dict):
        return None
    address = values.get('filename', name)
    key = _key_of(frames, address)
    return f'{f"{key}=" if key else ""}{address}: there are no such weights{nearest(name, known)}'


def _registered(registry: Registry) -> list[str]:
    """The names that a registry knows, and those of the toolkits with their prefix."""
    root = registry
    while root.parent is not None:
        root = root.parent
    children = [f'{scope}.{name}' for scope, child in root.children.items() for name in child.module_dict]
    return sorted({*registry.module_dict, *root.module_dict, *children})


def _entries(frames: list[FrameType]) -> Iterator[tuple[str, Any]]:
    """All that the config holds that a tool has read, dicts and lists included, with its keys; nothing without one."""
    config = next((value for frame in frames for value in frame.f_locals.values() if isinstance(value, Config)), None)
    return _nested(config.to_dict()) if config else iter(())


def _nested(value: object, key: str = '') -> Iterator[tuple[str, Any]]:
    yield key, value
    for name, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _nested(one, f'{key}.{name}' if key else str(name))


def _where(frames: list[FrameType], cfg: dict) -> str:
    """The key of a dict in the config, with a dot; empty if it is not in there as it is."""
    return next((f'{key}.' for key, one in _entries(frames) if key and isinstance(one, dict) and one == cfg), '')


def _built_from(frames: list[FrameType], cfg: dict) -> str:
    """The key of the dict in the config that a toolkit has taken for its own, perhaps with defaults."""
    entries = ((key, one) for key, one in _entries(frames) if key and isinstance(one, dict) and 'type' in one)
    return next((key for key, one in entries if all(name in cfg and cfg[name] == one[name] for name in one)), '')


def _setting(frames: list[FrameType], cfg: dict, key: str) -> str:
    """A key of a dict with its value, and with its place if the config has it, where less may stand around it."""
    places = [(path, one) for path, one in _entries(frames) if path and isinstance(one, dict) and key in one]
    like = [path for path, one in places if one[key] == cfg[key] and _same_type(one, cfg)]
    return '.'.join([*like[:1], f'{key}={_short(cfg[key])}'])


def _short(value: object) -> str:
    """A value as it fits into a sentence."""
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:77]}...'


def _same_type(one: dict, other: dict) -> bool:
    return 'type' not in one or 'type' not in other or one['type'] == other['type']


def _key_of(frames: list[FrameType], value: str) -> str:
    return next((key for key, one in _entries(frames) if one == value), '')
