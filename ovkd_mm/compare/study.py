"""What is compared: a base config, entries, seeds and settings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ..config_files import explain_missing, refuse_name
from ..method_files import method_names, summed
from ..nearest import nearest

__all__ = ['NONE', 'TEACHER', 'Entry', 'Study', 'StudyTeacher', 'described', 'read_study']

NONE = 'none'  # the method of the student alone
TEACHER = 'teacher'  # stands where a method does in the row of a study's teacher
KEYS = ('config', 'methods', 'seeds', 'cfg_options', 'metric', 'teacher', 'published')
# What stands beside the entries' folders.
FILES = ('table.md', 'results.json', 'report.html', 'study.json', 'study.lock')
LONGEST = 200  # characters of a folder's name
TEACHER_KEYS = ('config', 'cfg_options', 'seed')


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
        label: What to call it.
        method: A file's name in ``_base_/methods``, or several with a ``+`` between them, ``'none'`` for the student
            alone, None for the base config's own.
        options: Settings of the distillation config, with dots in the keys.
    """

    label: str
    method: str | None = None
    options: dict = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The label as a file system likes it."""
        return re.sub(r'[^\w.+=-]+', '-', self.label).strip('-.')

    @property
    def description(self) -> str:
        """What it is, in a line."""
        known = {None: "the base config's method", NONE: 'the student alone', TEACHER: 'the teacher'}
        return ', '.join([known.get(self.method, f'method {self.method}'), *described(self.options)])


@dataclass(frozen=True)
class StudyTeacher:
    """What a study trains before anything else, for all its runs.

    Attributes:
        config: Path of its config.
        options: Settings of it, with dots in the keys.
        seed: It is trained once, with this one.
    """

    config: Path
    options: dict = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True)
class Study:
    """A comparison.

    Attributes:
        config: Path of the base distillation config.
        entries: The rows.
        seeds: Each entry is trained once with each.
        options: Settings of the distillation config for all entries, with dots in the keys.
        metric: Key of the validation metric; None for the config's main one.
        teacher: What is trained first; None where the teacher's weights are there.
        published: Figures of others by label, to stand beside ours.

    Raises:
        ValueError: If entries or seeds are missing or not distinct.
    """

    config: Path
    entries: tuple[Entry, ...]
    seeds: tuple[int, ...] = (0,)
    options: dict = field(default_factory=dict)
    metric: str | None = None
    teacher: StudyTeacher | None = None
    published: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        folders = {TEACHER: Entry(TEACHER, TEACHER)} if self.teacher else {}
        for entry in self.entries:
            if not entry.folder:
                raise ValueError(f'methods: the label {entry.label!r} has no letter or digit to name a folder by')
            if len(entry.label.splitlines()) > 1:
                raise ValueError(f'methods: the label {entry.label!r} must be one line')
            if entry.folder.lower() in FILES or len(entry.folder) > LONGEST:
                raise ValueError(
                    f'methods: no folder can be named after the label {entry.label!r}: it is longer than {LONGEST} '
                    f"characters, or one of the study's files ({', '.join(FILES)})"
                )
            # A file system may not tell upper from lower case.
            other = folders.setdefault(entry.folder.lower(), entry)
            if other is not entry:
                same = 'twice' if other.label == entry.label else f'and {other.label!r} share the folder {entry.folder}'
                raise ValueError(f'methods: {entry.label!r} {same}; give each a label of its own')
        if not self.entries:
            raise ValueError('methods is empty; name what to compare, such as methods: [none, kd, ofd]')
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f'seeds must be distinct numbers, got {list(self.seeds)}')
        if wrong := [seed for seed in self.seeds if type(seed) is not int or seed < 0]:
            raise ValueError(f'seeds must be whole numbers from 0 up, got {wrong}')


def described(options: dict) -> list[str]:
    """Settings as ``--cfg-options`` takes them."""
    return [f'{key}={value}' for key, value in options.items()]


def read_study(
    file: str | Path | None = None,
    config: str | Path | None = None,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    options: dict | None = None,
    metric: str | None = None,
) -> Study:
    """Read a study file, and let arguments override it.

    Args:
        file: YAML with ``config`` (relative to the file), ``methods``, ``seeds``, ``cfg_options``, ``metric`` and
            ``teacher``, a mapping with ``config`` (likewise), ``cfg_options`` and ``seed``, to be trained first;
            ``published``, others' figures of the metric by label.
            ``methods`` is a list of names in ``_base_/methods`` and ``none``, or a mapping from a label to settings of
            the distillation config, among which ``method`` names one of these; without it the config's own counts, and
            the label must not be the name of another.
        config: Instead of the file's.
        methods: Labels of the file, or names as in its list; instead of the file's.
        seeds: Instead of the file's.
        options: Added to the file's ``cfg_options``, or in place of one. With ``model.teacher.checkpoint`` among them
            no teacher is trained.
        metric: Instead of the file's.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a key is unknown, missing or not of its form. The message names it.
    """
    content = _load(Path(file)) if file else {}
    entries = _entries(content.get('methods') or [], f'{file}: methods')
    labels = {TEACHER, *(entry.label for entry in entries)}
    if methods is not None:
        known = {entry.label: entry for entry in entries}
        for name in methods if known else ():
            if name not in known and not _names_methods(name):
                near = nearest(name, [*known, NONE, *method_names()])
                raise ValueError(f'--methods {name}: neither a label of {file} nor a method{near}')
        entries = [known.get(name, Entry(name, name)) for name in methods]
    if config is None and file and content.get('config'):
        config = Path(file).parent / str(content['config'])
    if config is None:
        raise ValueError('config is missing: name the base distillation config with --config, or in the study file')
    refuse_name(config, f'config={str(config)!r}')
    if not Path(config).is_file():
        raise FileNotFoundError(f'config={str(config)!r} {explain_missing(str(config))}')
    file_seeds = content.get('seeds', [0])
    file_options = _options(content, f'{file}: cfg_options')
    if not isinstance(file_seeds, list):
        raise ValueError(f'{file}: seeds must be a list such as [0, 1, 2], got {file_seeds!r}')
    options = {**file_options, **(options or {})}
    published = content.get('published') or {}
    if not isinstance(published, dict):
        raise ValueError(f'{file}: published must be a mapping from labels of methods to figures, got {published!r}')
    published = {str(label): str(figure) for label, figure in published.items() if figure is not None}
    if unknown := [label for label in published if label not in labels]:
        raise ValueError(f'{file}: published.{unknown[0]}: there is no such label{nearest(unknown[0], labels)}')
    metric = content.get('metric') if metric is None else metric
    if metric is not None and not isinstance(metric, str):
        raise ValueError(f"{file}: metric must be the key of a validation metric, such as 'mIoU'; got {metric!r}")
    trained = None if 'model.teacher.checkpoint' in options else content.get('teacher')
    return Study(
        config=Path(config).resolve(),
        entries=tuple(entries),
        seeds=tuple(file_seeds if seeds is None else seeds),
        options=options,
        metric=metric or None,
        published=published,
        teacher=_teacher(trained, Path(file).parent, f'{file}: teacher') if file and trained is not None else None,
    )


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would silently keep the last, and reads 1e-2 as a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != 'tag:yaml.org,2002:merge']
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f'{key!r} twice in one mapping, line {node.start_mark.line + 1}')
        return super().construct_mapping(node, deep)


# To PyYAML, which follows YAML 1.1, a number with an exponent needs a point and a sign (1.0e-2); all others are text.
_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float', re.compile(r'[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$', re.ASCII), list('-+.0123456789')
)


def _load(file: Path) -> dict:
    if not file.is_file():
        raise FileNotFoundError(f'the study {str(file)!r} {explain_missing(str(file))}')
    try:
        content = yaml.load(file.read_text(encoding='utf-8'), _Loader)
    except (yaml.YAMLError, ValueError) as exc:
        raise ValueError(f'{file}: {exc}') from exc
    unknown = [key for key in content if key not in KEYS] if isinstance(content, dict) else content
    if unknown or not isinstance(content, dict):
        raise ValueError(f'{file}: a study has the keys {", ".join(KEYS)}; got {unknown}')
    return content


def _teacher(setting: object, folder: Path, key: str) -> StudyTeacher:
    if not isinstance(setting, dict) or 'config' not in setting:
        raise ValueError(f'{key} must be a mapping with config, the path of a plain config; got {setting!r}')
    if unknown := [name for name in setting if name not in TEACHER_KEYS]:
        raise ValueError(f'{key} has the keys {", ".join(TEACHER_KEYS)}; got {unknown}')
    config, seed = folder / str(setting['config']), setting.get('seed', 0)
    if not config.is_file():
        raise FileNotFoundError(f'{key}.config={str(config)!r} {explain_missing(str(config))}')
    options = _options(setting, f'{key}.cfg_options')
    if type(seed) is not int or seed < 0:
        raise ValueError(f'{key}.seed must be a whole number from 0 up, got {seed!r}')
    return StudyTeacher(config.resolve(), options, seed)


def _options(content: dict, key: str) -> dict:
    options = content.get('cfg_options') or {}
    if not isinstance(options, dict) or any(not isinstance(name, str) for name in options):
        raise ValueError(f'{key} must be a mapping from a key, such as model.input_shape, to a value; got {options!r}')
    return options


def _names_methods(label: str) -> bool:
    return set(summed(label)) <= {NONE, *method_names()}


def _entries(methods: list | dict, key: str) -> list[Entry]:
    if isinstance(methods, list):
        if wrong := [name for name in methods if not isinstance(name, str)]:
            raise ValueError(f'{key}: a list has names only, got {wrong}; settings take a mapping from a label to them')
        return [Entry(name, name) for name in methods]
    if not isinstance(methods, dict):
        raise ValueError(f'{key} must be a list of names or a mapping from a label to settings, got {methods!r}')
    entries = []
    for label, settings in methods.items():
        settings = {} if settings is None else settings
        if not isinstance(settings, dict):
            raise ValueError(f'{key}.{label} must be a mapping from a key to a value, got {settings!r}')
        if wrong := [name for name in settings if not isinstance(name, str)]:
            raise ValueError(f'{key}.{label}: a key is text, such as model.input_shape; got {wrong}')
        if 'method' not in settings and _names_methods(str(label)):
            raise ValueError(
                f"{key}.{label}: without method the config's own is trained; add method: {label}, or rename it"
            )
        method = settings.get('method')
        if not isinstance(method, str | None):
            raise ValueError(f'{key}.{label}.method must be a name, or several with a + (ofd+kd); got {method!r}')
        options = {name: value for name, value in settings.items() if name != 'method'}
        entries.append(Entry(str(label), method, options))
    return entries
