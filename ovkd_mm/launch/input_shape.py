"""The size of the training inputs, told from a config's data pipeline and preprocessor."""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mmengine.config import Config

from ..config_files import type_name
from ..distillers.settings import check_shape

__all__ = ['InputShape', 'input_shape_of']


class InputShape(NamedTuple):
    """A size and what told it.

    Attributes:
        size: ``(H, W)``, in pixels.
        source: The settings that it follows from.
    """

    size: tuple[int, int]
    source: str


# Which setting of a step is the size of what leaves it; mmcv writes (W, H), mmpretrain and mmseg (H, W).
WIDTH_FIRST = dict(
    Resize='scale',
    RandomResize='scale',
    RandomChoiceResize='scales',
    FixScaleResize='scale',
    CenterCrop='crop_size',
    RandomCenterCropPad='crop_size',
    Pad='size',
    CachedMosaic='img_scale',
    Mosaic='img_scale',
)
HEIGHT_FIRST = dict(
    RandomResizedCrop='scale',
    EfficientNetRandomCrop='scale',
    RandomResizedCropAndInterpolationWithTwoPic='size',
    RandomCrop='crop_size',
)


def input_shape_of(config: Config) -> InputShape | None:
    """The size of a config's training inputs; where it varies (several scales, a kept ratio) the largest.

    The last step of the training pipeline that sets a size counts, then what the preprocessor pads to.

    Args:
        config: A plain config, or a distillation config, which says it in ``input_shape``.

    Returns:
        None where the config does not tell.

    Raises:
        ValueError: If ``input_shape`` is no size.
    """
    said = config.model.get('input_shape')
    if said is not None:
        check_shape(said)
        return InputShape(tuple(said), 'model.input_shape')
    steps = _steps((config.get('train_dataloader') or {}).get('dataset') or {})
    found = _after(steps, None, config.get('default_scope'))
    return _padded(found, config.model.get('data_preprocessor') or config.get('data_preprocessor') or {})


def _steps(dataset: dict) -> Iterator[dict]:
    """What an image passes: the steps of the innermost data set first; of several data sets the first."""
    inner = dataset.get('dataset') or (dataset.get('datasets') or [None])[0]
    if inner:
        yield from _steps(inner)
    yield from dataset.get('pipeline') or []


def _after(steps: Iterable[dict], found: InputShape | None, toolkit: str | None) -> InputShape | None:
    """The size after some steps; of alternatives the largest."""
    for step in steps:
        inner = step.get('transforms')
        if not inner:
            found = _set_by(step, toolkit) or found
        elif type_name(step) == 'RandomChoice' or isinstance(inner[0], list):
            each = [_after(one if isinstance(one, list) else [one], found, toolkit) for one in inner]
            found = max(filter(None, each), key=lambda one: math.prod(one.size), default=None)
        else:
            found = _after(inner, found, toolkit)
    return found


def _set_by(step: dict, toolkit: str | None) -> InputShape | None:
    """The size that a step sets, if it sets one."""
    kind = step.get('type', '')
    scope, _, name = (kind if isinstance(kind, str) else f'{kind.__module__}.{kind.__name__}').rpartition('.')
    key = HEIGHT_FIRST.get(name) or WIDTH_FIRST.get(name)
    value = step.get(key) if key else None
    if not value or step.get('crop_type', 'absolute') != 'absolute':
        return None
    width_first = name in WIDTH_FIRST or (scope.partition('.')[0] or toolkit) == 'mmdet'
    options = _options(value)
    largest = max(options, key=lambda one: math.prod(_pair(one, width_first)))
    height, width = _pair(largest, width_first)
    of_several = ' up to ' if len(options) > 1 else '='
    source = f'{name} {key}{of_several}{largest if isinstance(largest, int) else tuple(largest)}'
    if step.get('keep_ratio'):
        # Of a scale the larger number bounds the longer side, whichever comes first; most images are wide.
        return InputShape((min(height, width), max(height, width)), f'{source} with the ratio kept')
    return InputShape((height, width), source)


def _options(value: object) -> list:
    """The sizes among which a setting chooses."""
    several = isinstance(value, (list, tuple)) and (len(value) != 2 or isinstance(value[0], (list, tuple)))
    return list(value) if several else [value]  # type: ignore[call-overload]


def _pair(value: int | tuple[int, int], width_first: bool) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return (int(second), int(first)) if width_first else (int(first), int(second))


def _padded(found: InputShape | None, preprocessor: dict) -> InputShape | None:
    """What a preprocessor makes of a batch of such images."""
    key, value = 'size', preprocessor.get('size')
    for augment in preprocessor.get('batch_augments') or []:
        if type_name(augment) == 'BatchFixedSizePad':
            key, value = 'batch_augments size', augment.get('size')
    if value:
        return InputShape(
            _pair(value, width_first=False),
            f'data_preprocessor {key}={value if isinstance(value, int) else tuple(value)}',
        )
    divisor = preprocessor.get('pad_size_divisor') or preprocessor.get('size_divisor') or 1
    if found is None or divisor == 1:
        return found
    height, width = (math.ceil(side / divisor) * divisor for side in found.size)
    padded = f', padded to a multiple of {divisor}' if (height, width) != found.size else ''
    return InputShape((height, width), found.source + padded)
