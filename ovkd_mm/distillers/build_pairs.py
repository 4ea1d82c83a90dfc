"""From the pairs of a config to :class:`FeaturePair`."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from torch import nn

from ..losses import DistillLoss
from ..number import number
from ..positions import Place, Position, Span, Trace, auto_logits, auto_pairs
from ..registry import MODELS, TASK_UTILS
from ..transforms import Transform
from .auto_weight import AutoWeight, auto_weight
from .feature_pair import FeaturePair
from .settings import COMPARED, PAIR, PARTS, check_settings

__all__ = ['AUTO', 'build_pairs', 'listed_in']

# What finds the places that a config leaves open.
AUTO = dict(pairs=auto_pairs, logits=auto_logits)

Part = TypeVar('Part', Transform, DistillLoss)


def build_pairs(
    method: dict,
    pairs: str | Sequence[dict],
    logits: str | Sequence[dict],
    student: Trace,
    teacher: Trace,
    student_model: nn.Module,
    teacher_model: nn.Module,
) -> Iterator[FeaturePair]:
    """Build what a distiller's config says of ``method``, ``pairs`` and ``logits``; see :class:`FeatureDistiller`.

    Args:
        method: Without its hooks; its own pairs or logits take the place of the next two arguments.
        pairs: As in the config.
        logits: As in the config.
        student: Trace of the student.
        teacher: Trace of the teacher.
        student_model: The student, whose head tells a loss which label it ignores.
        teacher_model: The teacher, whose batch norms a transform may ask for.

    Raises:
        TypeError: If something is of another type than a config has there.
        ValueError: If a key is unknown or missing, a place does not exist or a pair does not fit.
    """
    method = dict(method)
    _check_parts('method', method)
    pairs, logits = method.pop('pairs', pairs), method.pop('logits', logits)
    _check_list('pairs', pairs)
    _check_list('logits', logits)
    key = listed_in(method)
    found: Any = logits if key == 'logits' else pairs
    if found == 'auto':
        found = AUTO[key](student, teacher)
    if not found:
        raise ValueError(f'{key} is empty, so nothing would be distilled: list a pair, or train the student alone')
    linear = method.pop('without_activation', {})
    check_settings('method.without_activation', linear, COMPARED)
    weights = _weights(key, method.get('weight', 1.0), found)
    autos: dict[str, AutoWeight | None] = {}
    both = student, teacher, student_model, teacher_model
    for index, (pair, weight) in enumerate(zip(found, weights, strict=True)):
        cfg = {**method, **{name: _over(method, name, part) for name, part in pair.items()}, 'weight': weight}
        # A part that the pair names itself stays as it is; settings without a type are merged as into the method's.
        given = {name: pair.get(name, {}) for name in linear}
        instead = {name: {**part, **given[name]} for name, part in linear.items() if 'type' not in given[name]}
        yield _build_pair(f'{key}[{index}]', cfg, instead, 'loss' in pair, autos, *both)


def _check_list(key: str, listed: object) -> None:
    if listed == 'auto':
        return
    if isinstance(listed, str):
        raise ValueError(f"{key} must be 'auto' or a list of dicts, got {listed!r}")
    if not isinstance(listed, Sequence):
        raise TypeError(f"{key} must be 'auto' or a list of dicts, got {listed!r}")
    for index, pair in enumerate(listed):
        check_settings(f'{key}[{index}]', pair, PAIR)
        _check_parts(f'{key}[{index}]', pair)
        if (classes := pair.get('classes')) is not None:
            number(f'{key}[{index}].classes', classes, above=True, whole=True)
        if not isinstance(resize := pair.get('resize', False), bool):
            raise TypeError(f'{key}[{index}].resize must be True or False, got {resize!r}')


def _check_parts(key: str, settings: dict) -> None:
    for name in PARTS:
        if not isinstance(settings.get(name, {}), dict):
            raise TypeError(f"{key}.{name} must be a dict such as dict(type='ovkd_mm...'), got {settings[name]!r}")


def _over(method: dict, name: str, setting: Any) -> Any:
    """A pair's setting; one of a part without a type is merged into the method's settings of that part."""
    if name in PARTS and isinstance(setting, dict) and 'type' not in setting:
        return {**method.get(name, {}), **setting}
    return setting


def _build_pair(
    key: str,
    cfg: dict,
    linear: dict,
    own_loss: bool,
    autos: dict[str, AutoWeight | None],
    student: Trace,
    teacher: Trace,
    student_model: nn.Module,
    teacher_model: nn.Module,
) -> FeaturePair:
    if missing := [name for name in ('student', 'teacher', *PARTS) if name not in cfg]:
        raise ValueError(
            f'{key} (with the method) lacks {", ".join(missing)}; a pair has student and teacher, the method '
            f'{", ".join(PARTS)}'
        )
    for name in PARTS:
        if 'type' not in cfg[name]:
            raise ValueError(
                f"{key}.{name} (with the method) has no type, such as type='ovkd_mm...'; got {cfg[name]!r}"
            )
    student_place = _resolve(cfg['student'], cfg['position'], student, f'{key}.student')
    teacher_place = _resolve(cfg['teacher'], cfg['position'], teacher, f'{key}.teacher')
    # Where the settings of the loss stand: all pairs that take them from there share one measured weight.
    where = f'{key}.loss' if own_loss else 'method.loss'
    if isinstance(teacher_place, Place) and teacher_place.activated is False:
        cfg |= {name: {**cfg[name], **part} for name, part in linear.items()}
        if 'loss_weight' in linear.get('loss', {}) and not own_loss:
            where = 'method.without_activation.loss'
    if where not in autos:
        autos[where] = auto_weight(f'{where}.loss_weight', cfg['loss'].get('loss_weight', 1.0))
    if auto := autos[where]:
        cfg['loss'] = {**cfg['loss'], 'loss_weight': 1.0}
    norm = teacher_place.norm and teacher_model.get_submodule(teacher_place.norm)
    channels = dict(in_channels=student_place.channels, out_channels=teacher_place.channels)
    _check_spans(key, cfg, student_place, teacher_place)
    if listed_in(cfg) == 'pairs':
        _check_maps(key, student_place, teacher_place)
    return FeaturePair(
        student_place,
        teacher_place,
        student_transform=_build_part('student_transform', cfg, Transform, **channels),
        teacher_transform=_build_part('teacher_transform', cfg, Transform, channels=teacher_place.channels, norm=norm),
        # Only compared with, so it may be abstract.
        loss=_build_part(
            'loss',
            cfg,
            DistillLoss,  # type: ignore[type-abstract]
            **({'classes': cfg['classes']} if cfg.get('classes') is not None else {}),
            **_ignored(student_model, student_place),
        ),
        weight=cfg['weight'],
        auto_weight=auto,
        resize=cfg.get('resize', False),
    )


def _ignored(student: nn.Module, place: Place | Span) -> dict[str, int]:
    """The label that the head around a place leaves out of its own loss, if it names one (mmseg's do)."""
    path = place.path if isinstance(place, Place) else ''
    while path:
        path = path.rpartition('.')[0]
        ignored = vars(student.get_submodule(path)).get('ignore_index')
        if isinstance(ignored, int):
            return dict(ignore_index=ignored)
    return {}


def _build_part(key: str, cfg: dict, base: type[Part], **offered: object) -> Part:
    """Build a transform or a loss, with what it asks for of what is offered."""
    kind = _kind(cfg[key])
    asked = inspect.signature(kind).parameters if kind else {}
    part = MODELS.build(cfg[key], default_args={name: value for name, value in offered.items() if name in asked})
    if not isinstance(part, base):
        raise TypeError(
            f'method.{key}.type={cfg[key]["type"]!r} is not a {base.__module__.rpartition(".")[0]}.{base.__name__}; '
            'derive it from that class, whose docstring says what is asked of it'
        )
    return part


def _kind(cfg: dict) -> Any:
    """The class that a part's config names; building says what is wrong with a name that is none."""
    return MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']


def _check_spans(key: str, cfg: dict, student: Place | Span, teacher: Place | Span) -> None:
    for name, place in dict(student_transform=student, teacher_transform=teacher).items():
        kind = _kind(cfg[name])
        if isinstance(kind, type) and issubclass(kind, Transform) and kind.takes_span != isinstance(place, Span):
            of = 'two places, the ends of a group' if kind.takes_span else 'one place'
            raise ValueError(
                f'{key}: {name}.type={cfg[name]["type"]!r} takes features of {of}, and position.type='
                f'{cfg["position"]["type"]!r} reads {"one" if kind.takes_span else "two"}; ovkd_mm.GroupEnds and '
                'ovkd_mm.GramMatrix (for both transforms) belong together; a class of your own sets takes_span'
            )


def _check_maps(key: str, student: Place | Span, teacher: Place | Span) -> None:
    for role, place in dict(student=student, teacher=teacher).items():
        if len(place.size) < 2:
            shape = 'x'.join(map(str, place.ends[-1].shape))
            raise ValueError(
                f'{key}.{role}={place.name!r} is a vector of {shape}, and methods for features compare maps (C, H, W): '
                'name the last map before the pooling, or list class scores in logits of a method that compares them, '
                'such as kd'
            )


def listed_in(method: dict) -> str:
    """Where a config lists the places of a method: ``'pairs'``, or ``'logits'`` if it compares class scores."""
    return _position(method.get('position', {})).listed_in


def _position(cfg: dict) -> type[Position]:
    """The class that a position's config names; building says what is wrong with a name that is none."""
    named = cfg.get('type')
    return (TASK_UTILS.get(named) if isinstance(named, str) else named) or Position


def _resolve(place: str | dict, position: dict, traced: Trace, key: str) -> Place | Span:
    """A place from its path, by the method's position or, written as a dict, by its own."""
    place = dict(path=place) if isinstance(place, str) else place
    cfg = place if 'type' in place else {**position, **place}
    if _position(position).reads_span:
        cfg = {**cfg, **position}  # one place cannot stand for the two ends of a group; its path can
    try:
        return TASK_UTILS.build(cfg).resolve(traced)
    except ValueError as exc:
        raise ValueError(f'{key}: {exc}') from exc


def _weights(key: str, weight: float | str, pairs: Sequence[dict]) -> list[float]:
    """What each pair weighs: its own weight, else what the method says."""
    stages = [pair.get('stage', index) for index, pair in enumerate(pairs)]
    for index, stage in enumerate(stages):
        if not isinstance(stage, int):
            raise ValueError(f'{key}[{index}].stage must be a whole number, got {stage!r}')
    if weight == 'halved':
        weights = [0.5 ** (max(stages) - stage) for stage in stages]
    else:
        weights = [number('method.weight', weight, otherwise=" or 'halved'")] * len(stages)
    own = [pair.get('weight', default) for pair, default in zip(pairs, weights, strict=True)]
    return [number(f'{key}[{index}].weight', one) for index, one in enumerate(own)]
