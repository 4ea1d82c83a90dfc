"""Reading configs, and finding the one that was meant if the one named does not exist."""

import difflib
import os
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

from .nearest import nearest

__all__ = [
    'CONFIGS',
    'SHIPPED',
    'buildable',
    'explain_missing',
    'from_here',
    'is_distillation',
    'model_of',
    'read_config_file',
    'student_of',
    'type_name',
    'without_pretrained',
]

PACKAGE = Path(__file__).resolve().parent
SHIPPED = Path('.mim', 'configs')  # of a package; a checkout of ours has links there
CONFIGS = PACKAGE / SHIPPED


def read_config_file(path: str | Path, what: str, imports: bool = True) -> Config:
    """Read a config, and say what is wrong where that fails.

    Args:
        path: Path of the config, or its ``package::folder/name.py``.
        what: What to call it, such as ``the config 'a.py'``.
        imports: Carry out its ``custom_imports``.

    Raises:
        FileNotFoundError: If it or a config that it builds on does not exist. The message names the nearest ones.
        ValueError: If it cannot be read.
    """
    path = str(path)
    if '::' not in path:
        if not Path(path).is_file():
            raise FileNotFoundError(f'{what} {explain_missing(path)}')
        if Path(path).suffix not in ('.py', '.yml', '.yaml', '.json'):
            raise ValueError(
                f'{what} is not a config, whose name would end with .py. On a command line the config comes before the '
                'checkpoint'
            )
    try:
        # A name is read as a base, since mmengine.hub.get_config would pip-install a toolkit that is absent.
        if '::' in path:
            return Config.fromstring(f'_base_ = {path!r}', '.py')
        return Config.fromfile(path, import_custom_modules=imports)
    except Exception as error:  # a config is code and may raise anything
        missing = _missing(error)
        if missing is None:
            raise ValueError(f'{what} cannot be read: {type(error).__name__}: {error}') from error
        if missing == path:
            raise FileNotFoundError(f'{what} {explain_missing(missing)}') from error
        raise FileNotFoundError(f'{what} cannot be read: its _base_ {missing!r} {explain_missing(missing)}') from error


def refuse_name(path: str | Path, what: str) -> None:
    """Refuse a ``package::config`` name where a file is needed.

    Raises:
        ValueError: If it is one.
    """
    if '::' in str(path):
        raise ValueError(f'{what} is a name, not a file: write one with _base_ = {str(path)!r}')


def model_of(config: Config) -> dict:
    """The model of a config, with the preprocessor that mmpretrain and mmseg keep beside it."""
    beside = config.get('data_preprocessor')
    return {'data_preprocessor': beside, **config.model} if beside else dict(config.model)


def buildable(config: Config, what: str) -> Config:
    """Move into a config's model what stands beside it: its preprocessor, and the toolkit that builds it.

    Args:
        config: Changed in place.
        what: What to call it.

    Raises:
        ValueError: If it has no model.
    """
    if not config.get('model'):
        raise ValueError(f"{what} has no key 'model'; it has {sorted(config)}")
    config.model = model_of(config)
    if config.get('default_scope'):
        config.model.setdefault('_scope_', config.default_scope)
    return config


def type_name(cfg: dict) -> str:
    """The type that a dict of a config names, by name or as a class, without its scope; empty where it names none."""
    kind = cfg.get('type', '')
    return kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__


def is_distillation(config: Config) -> bool:
    """Whether the config's model is a :class:`~ovkd_mm.FeatureDistiller`."""
    return type_name(config.model) == 'FeatureDistiller'


def student_of(distillation: dict) -> dict:
    """The student of a distillation's model as a model of its own, with the preprocessor that stands beside it."""
    student = dict(distillation['student'])
    for key in ('data_preprocessor', '_scope_'):
        if distillation.get(key) is not None:
            student.setdefault(key, distillation[key])
    return student


def without_pretrained(model: dict) -> dict:
    """A model without ``pretrained=True``, which makes mmpretrain's ``TIMMBackbone`` download weights.

    For models whose weights come from elsewhere, or do not matter.
    """

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return type(value)({k: False if k == 'pretrained' and v is True else without(v) for k, v in value.items()})
        return type(value)(map(without, value)) if type(value) in (list, tuple) else value

    return without(model)


def explain_missing(name: str) -> str:
    """What to say of a config that does not exist: where it was looked for, and the nearest ones that do.

    Args:
        name: A path, or ``package::folder/name.py``.
    """
    package, _, path = name.rpartition('::')
    if package:
        if package not in MODULE2PACKAGE:
            return f'names no package with configs{nearest(package, MODULE2PACKAGE)}'
        if (folder := _shipped(package)) is None:
            return f'needs {package}, which is not installed'
        near = [f'{package}::{found.relative_to(folder).as_posix()}' for found in _near(folder / path, [folder])]
        where = str(folder)
    else:
        wanted = Path(os.path.abspath(path))
        if wanted.is_dir():
            return 'is a folder, not a config'
        near = [from_here(found) for found in _near(wanted, [CONFIGS.resolve()])]
        where = str(wanted.parent)
    return f'does not exist; looked for in {where}' + (f'; nearest: {", ".join(near)}' if near else '')


def _missing(error: Exception) -> str | None:
    """The path or name that mmengine did not find, if that is what stopped it."""
    frame = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    values, function = frame.f_locals, frame.f_code.co_name
    if function == '_get_package_and_cfg_path':
        return '::'.join(values.get('package_cfg', [values['cfg_path']]))
    if function == 'check_file_exist':
        path = values['filename']
    elif isinstance(error, FileNotFoundError) and 'mmengine/config/' in Path(frame.f_code.co_filename).as_posix():
        path = error.filename
    else:
        return None
    path = Path(os.path.abspath(path))
    for package in MODULE2PACKAGE:
        if (folder := _shipped(package)) and path.is_relative_to(folder):
            return f'{package}::{path.relative_to(folder).as_posix()}'
    return str(path)


def _shipped(package: str) -> Path | None:
    """Where the configs of a package lie."""
    found = find_spec(package)
    return Path(found.origin).parent / SHIPPED if found and found.origin else None


def _near(wanted: Path, elsewhere: list[Path]) -> list[Path]:
    """Configs or studies with similar names, in the wanted folder and below others; only one if its name is equal."""
    folder = wanted.parent
    while not folder.is_dir():
        folder = folder.parent
    name = f'*{wanted.suffix}' if wanted.suffix in ('.yml', '.yaml') else '*.py'
    files = [*folder.glob(name), *folder.glob(f'*/{name}'), *(file for root in elsewhere for file in root.rglob(name))]

    def likeness(file: Path) -> tuple[float, float]:
        name = difflib.SequenceMatcher(None, wanted.stem, file.stem)
        study = difflib.SequenceMatcher(None, wanted.parent.name, file.parent.name)
        return name.ratio(), study.ratio()

    ranked = sorted(((likeness(file), file) for file in set(files)), reverse=True)
    best = ranked[0][0][0] if ranked else 0
    return [file for (name, _), file in ranked if name >= max(0.6, 1 if best == 1 else 0)][: 1 if best == 1 else 3]


def from_here(path: Path) -> str:
    """A path as a user in this folder would write it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
