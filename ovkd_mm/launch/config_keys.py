"""The keys at the top of a config: mistyped ones, which nothing would ever read, are refused."""

import copy
import difflib
import inspect
import re

from mmengine.config import Config
from mmengine.runner import FlexibleRunner, Runner

from ..config_files import is_distillation
from ..method_files import read_method
from ..nearest import nearest
from ..toolkits import TOOLKITS
from .plain_config import SHARED

__all__ = ['check_keys', 'check_scope', 'override']

# What a runner takes, and what else is read of a config.
RUNNER = tuple(dict.fromkeys(name for kind in (Runner, FlexibleRunner) for name in inspect.signature(kind).parameters))
BESIDE = (
    'activation_checkpointing',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
)
SCOPES = ('mmengine', *TOOLKITS)
# What may replace a number outside the model, such as optim_wrapper.loss_scale or a window_size of log_processor.
WORDS = ('auto', 'dynamic', 'epoch', 'global')


def check_keys(config: Config) -> None:
    """Refuse an unknown key that resembles one of a runner's; all others are variables of the config's own.

    No config of mmdet, mmseg or mmpretrain has one but ``bisenetv2_fcn_4xb4-ohem-160k_cityscapes-1024x1024.py``, whose
    ``models`` is such a mistake. Variants such as ``val_evaluator_b`` and ``train_dataloader2`` are none.

    Args:
        config: As it was read.

    Raises:
        ValueError: If there is one.
    """
    for key in config:
        swapped = [name for name in RUNNER if sorted(name) == sorted(key)]
        for meant in swapped or difflib.get_close_matches(key, RUNNER, n=1, cutoff=0.88):
            if key != meant and not re.fullmatch(rf'\w+_{meant}|(\w+_)?{meant}(_\w+|\d+)', key):
                raise ValueError(
                    f'the config has {key!r}, which nothing reads; nearest: {meant}. If it is a variable of your own, '
                    'give it a name that is less like it'
                )


def override(config: Config, options: dict, what: str) -> None:
    """Change settings of a config.

    The first part of a key must be known, and must not be what a distillation's model was put together from: setting
    that after reading changes nothing.

    Args:
        config: Changed in place.
        options: Values by keys with dots.
        what: Where they come from, for messages.

    Raises:
        ValueError: If neither the config nor who reads it has such a key, it is one that the model was put
            together from, the config has no place for a value, or a text is to replace a number outside the model.
    """
    known = [*config, *RUNNER, *BESIDE]
    distills = isinstance(config.get('model'), dict) and is_distillation(config)
    taken = (*SHARED, *config.model) if distills else ()
    for key, value in options.items():
        first, _, rest = key.partition('.')
        if first in taken:
            meant = dict(distiller=rest, places='pairs', head_pairs='pairs').get(first, key)
            raise ValueError(
                f'{what} {key}: the model has taken over {first}, so this changes nothing; set model.{meant}'
            )
        if first not in known:
            raise ValueError(f'{what} {key}: neither the config nor a runner has {first!r}{nearest(first, known)}')
        old = _found(config, key)
        if isinstance(value, str) and _is_number(old) and first != 'model' and value not in WORDS:
            raise ValueError(f'{what} {key}={value!r}: the config has {old} there, so this must be a number, too')
        if key.endswith('.loss_weight.share'):  # in place of a number, too
            key, value = key.removesuffix('.share'), dict(_delete_=True, share=value)
        if key.startswith('model.method.') and 'method' in (config.get('model') or {}):
            _open_methods(config)
        try:
            if isinstance(value, dict) and '_delete_' in value:
                # Where nothing is to be deleted, upstream leaves _delete_ in the value.
                config.merge_from_dict({key: None})
            config.merge_from_dict({key: copy.deepcopy(value)})  # upstream puts later keys into dicts of earlier ones
        except (KeyError, TypeError, IndexError, AttributeError) as exc:
            if several := _of_a_list(config, key):
                raise ValueError(f'{what} {key}={value}: {several}') from exc
            raise ValueError(f'{what} {key}={value}: the config has no place for it: {exc}') from exc


def _found(config: Config, key: str) -> object:
    """What is there now; None if nothing is."""
    value: object = config
    for name in key.split('.'):
        if isinstance(value, list):
            value = value[int(name)] if name.isdecimal() and int(name) < len(value) else None
        else:
            value = value.get(name) if isinstance(value, (Config, dict)) else None
    return value


def _of_a_list(config: Config, key: str) -> str:
    """What to say where a key passes over the index of a list; empty where it passes over none."""
    names = key.split('.')
    for end in range(1, len(names)):
        before, after = '.'.join(names[:end]), '.'.join(names[end:])
        value = _found(config, before)
        if isinstance(value, list) and not names[end].isdecimal():
            return f'{before} is a list of {len(value)}: name one by its index, such as {before}.0.{after}'
    return ''


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _open_methods(config: Config) -> None:
    """Replace methods that the model names by file with their parts, so that options can override these."""
    named = config.model.method
    opened = [
        read_method(one) if isinstance(one, str) else one for one in (named if isinstance(named, list) else [named])
    ]
    config.model.method = opened if isinstance(named, list) else opened[0]


def check_scope(config: Config) -> None:
    """Refuse a mistyped toolkit.

    Raises:
        ValueError: If ``default_scope`` is nearly one.
    """
    scope = config.get('default_scope')
    if isinstance(scope, str) and scope not in SCOPES and difflib.get_close_matches(scope, SCOPES, cutoff=0.8):
        raise ValueError(f'default_scope={scope!r}: there is no such toolkit{nearest(scope, SCOPES)}')
