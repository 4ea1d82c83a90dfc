"""A config of a part of its schedule."""

import copy
import math
from typing import Any

from mmengine.config import Config

from ..config_files import type_name
from ..method_files import methods_of

__all__ = ['shortened', 'validations']

RUNGS = 4  # validations of a trial at most; after the first and the second the worse ones end

# Settings that are a number of epochs or iterations, of schedulers and of hooks (ours, mmengine's and mmdet's).
SCHEDULER_TIMES = ('begin', 'end', 'T_max', 'step_size', 'total_steps', 'milestones', 'periods')
HOOK_TIMES = ('epochs', 'iters', 'length', 'stop_at', 'begin_epoch', 'begin_iter', 'switch_epoch', 'num_last_epochs')
FIRST_STAGES = ('ConnectorWarmupHook', 'InitializationHook')


def shortened(config: Config, part: float) -> Config:
    """A config of a part of its schedule, with a validation and a checkpoint after each quarter of it, or each epoch.

    The times of its schedulers and hooks become the same part, as far as whole numbers allow, so that a trial has every
    stage of the whole training: rates decay, and AB learns the task in the end. A scheduler whose time vanishes is left
    out.

    Raises:
        ValueError: If it has no schedule, or no time for what comes after the connectors' warm-up or AB's first stage.
    """
    config = copy.deepcopy(config)
    schedule, hooks = config.get('train_cfg') or {}, config.get('default_hooks') or {}
    key = next((key for key in ('max_epochs', 'max_iters') if schedule.get(key)), None)
    if key is None:
        raise ValueError(f'train_cfg={config.get("train_cfg")!r} has no max_epochs or max_iters to shorten')
    length = max(round(schedule[key] * part), 1)
    part = length / schedule[key]
    every = max(math.ceil(length / RUNGS), 1)
    schedule.update({key: length, 'val_interval': every})
    for name in ('dynamic_intervals', 'val_begin'):
        schedule.pop(name, None)
    by_epoch = key == 'max_epochs'
    saving = hooks.get('checkpoint') or dict(type='CheckpointHook')
    hooks['checkpoint'] = dict(saving, by_epoch=by_epoch, interval=every, max_keep_ckpts=1)
    if not by_epoch:  # else validations have no iteration
        hooks['logger'] = dict(hooks.get('logger') or dict(type='LoggerHook'), log_metric_by_epoch=False)
    config.default_hooks = hooks
    if config.get('param_scheduler'):
        ends = {by_epoch: length}
        config.param_scheduler = _shortened_schedulers(config.param_scheduler, part, ends)
    methods = (config.get('model') or {}).get('method')
    of_methods = [hook for one in methods_of(methods) for hook in one.get('hooks') or []] if methods else []
    hooks = [*(config.get('custom_hooks') or []), *of_methods]
    for hook in hooks:
        _shorten(hook, HOOK_TIMES, part)
    _check_stages(hooks, length, 'epochs' if by_epoch else 'iters')
    return config


def _check_stages(hooks: list[dict], length: int, unit: str) -> None:
    """Refuse a part in which the first stage leaves no time for the second."""
    ends = [
        hook['stop_at'] for hook in hooks if hook.get('stop_at') and hook.get('by_epoch', True) == (unit == 'epochs')
    ]
    for hook in hooks:
        if type_name(hook) in FIRST_STAGES and (hook.get(unit) or 0) >= min([length, *ends]):
            raise ValueError(
                f'--part is too small: of {min([length, *ends])} {unit} of distillation that a trial would have, '
                f'{type_name(hook)} takes {hook[unit]}, and the student would learn nothing after it'
            )


def _shortened_schedulers(setting: list | dict, part: float, ends: dict[bool, int]) -> list | dict:
    """Schedulers, or lists of them by optimizer; ``ends`` is when they end by default, by ``by_epoch``."""
    if isinstance(setting, dict) and 'type' not in setting:
        return {name: _shortened_schedulers(each, part, ends) for name, each in setting.items()}
    schedulers = setting if isinstance(setting, list) else [setting]
    for one in schedulers:
        step = one.get('step_size', 1)
        _shorten(one, SCHEDULER_TIMES, part)
        if 'step_size' in one or type_name(one).startswith('Exponential'):
            # A step cannot be shorter than one epoch or iteration; it then stands for several of the whole schedule.
            one['gamma'] = one.get('gamma', 0.1) ** (one.get('step_size', 1) / (step * part))
        if 'milestones' in one:
            one['milestones'] = list(dict.fromkeys(one['milestones']))
    return [
        one for one in schedulers if one.get('begin', 0) < one.get('end', ends.get(one.get('by_epoch', True), math.inf))
    ]


def _shorten(settings: dict, times: tuple[str, ...], part: float) -> None:
    for key in times:
        if key in settings:
            settings[key] = _part_of(settings[key], part)


def _part_of(time: Any, part: float) -> Any:
    """A part of a time or of each of several; whole numbers stay whole, and those from 1 up at 1 or more."""
    if isinstance(time, (list, tuple)):
        return [_part_of(one, part) for one in time]
    if not isinstance(time, (int, float)):
        return time
    return max(round(time * part), min(time, 1)) if time % 1 == 0 else time * part


def validations(config: Config) -> int:
    """How many a shortened config has."""
    schedule = config.train_cfg
    return math.ceil((schedule.get('max_epochs') or schedule.get('max_iters')) / schedule.val_interval)
