"""The configs of a study's runs."""

import contextlib
import copy
import hashlib
import json
from pathlib import Path

from mmengine.config import Config

from ..config_files import is_distillation, read_config_file
from ..distillers.foreign import source_of
from ..distillers.settings import PARTS
from ..distillers.teacher import check_teacher
from ..launch.config_keys import check_keys, override
from ..launch.config_values import check_values
from ..launch.plain_config import forget_resume, forget_run, plain_config
from ..method_files import read_method, summed
from .study import NONE, Entry, Study

__all__ = ['as_json', 'as_text', 'entry_config', 'read_base', 'read_plain', 'seeded', 'teacher_digest']


def read_base(file: Path) -> Config:
    """Read a distillation config.

    Raises:
        ValueError: If it cannot be read, has a mistyped key or distills nothing.
    """
    config = _read(file, f'config={str(file)!r}')
    if not config.get('model') or not is_distillation(config):
        kind = (config.get('model') or {}).get('type')
        raise ValueError(
            f'config={str(file)!r} distills nothing, its model.type is {kind!r}; '
            "name a config with model.type='ovkd_mm.FeatureDistiller'"
        )
    return config


def read_plain(file: Path, options: dict) -> Config:
    """Read a config with settings, such as that of a study's teacher.

    Raises:
        ValueError: If it cannot be read, has a mistyped key, or the settings do not fit.
    """
    config = _read(file, f'teacher.config={str(file)!r}')
    override(config, options, 'teacher:')
    check_values(config)
    return config


def entry_config(base: Config, study: Study, entry: Entry) -> Config:
    """The base config with the entry's method, and the settings of study and entry.

    Settings are applied last, and to the distillation config even where the student alone is trained.

    Args:
        base: The base config, left as it is.
        study: The study.
        entry: One of its entries.

    Raises:
        ValueError: If the method does not exist or the settings do not fit.
        TypeError: If the teacher or one of its settings is of another type than it has to be.
        FileNotFoundError: If the teacher's checkpoint does not exist.
    """
    config = copy.deepcopy(base)
    config.pop('method', None)
    if entry.method not in (None, NONE):
        _check_pairs(config)
        names = summed(str(entry.method))
        if NONE in names:
            raise ValueError(f'method {entry.method}: none is the student alone, with no losses; leave it out')
        found = [read_method(name, f' (or {NONE}, the student alone)') for name in names]
        config.model.method = found if len(found) > 1 else found[0]
    for options in (study.options, entry.options):
        override(config, options, f'{entry.label}:')
    check_values(config)
    if entry.method == NONE:
        return plain_config(config)
    check_teacher(config.model.get('teacher'))
    _check_checkpoint(config.model.teacher.get('checkpoint'))
    return config


def _read(file: Path, what: str) -> Config:
    config = read_config_file(file, what, imports=False)  # a training's own process imports them
    check_keys(config)
    return forget_resume(config)


def seeded(config: Config, seed: int) -> Config:
    """A copy of a config with a seed."""
    config = copy.deepcopy(config)
    config.randomness = dict(config.get('randomness') or {}, seed=seed)
    return config


def as_json(config: Config) -> dict:
    """A config as JSON gives it back."""
    return json.loads(json.dumps(config.to_dict(), default=repr))


def as_text(config: Config) -> str:
    """A config as a text that equal ones share, whatever the order of their keys."""
    return json.dumps(as_json(config), sort_keys=True)


def _check_pairs(config: Config) -> None:
    """A pair's own parts would stay while the method's are swapped."""
    for key in ('pairs', 'logits'):
        pairs = config.model.get(key)
        for index, pair in enumerate(pairs if isinstance(pairs, list) else []):
            if parts := [part for part in PARTS if part in pair]:
                raise ValueError(
                    f'model.{key}[{index}] of the base config overrides {", ".join(parts)} of its method, which would '
                    'stay in every other method; leave parts to the method in a config that is compared'
                )


def _check_checkpoint(checkpoint: str | None) -> None:
    if checkpoint and '://' not in checkpoint and not Path(checkpoint).expanduser().is_file():
        raise FileNotFoundError(
            f'model.teacher.checkpoint={checkpoint!r} does not exist; train the teacher first, '
            'or name its weights with --cfg-options model.teacher.checkpoint=...'
        )


def teacher_digest(config: Config) -> str | None:
    """What tells a distillation's teacher from others: a digest of the files, of config and checkpoint, that it names.

    Args:
        config: Of a distillation; of a plain one there is no teacher, and no digest.
    """
    teacher = (config.model.get('teacher') if is_distillation(config) else None) or {}
    model, checkpoint = teacher.get('model'), teacher.get('checkpoint')
    digest, known = hashlib.sha256(), False
    if isinstance(model, str) and not source_of(model):
        with contextlib.suppress(FileNotFoundError, ValueError):  # which is said where the teacher is built
            read = read_config_file(model, 'model.teacher.model', imports=False)
            digest.update(as_text(forget_run(read)).encode())
            known = True
    if checkpoint is not None and (path := Path(checkpoint).expanduser()).is_file():
        with open(path, 'rb') as file:
            while block := file.read(2**20):
                digest.update(block)
        known = True
    return digest.hexdigest() if known else None
