"""What a teacher may be built from: a toolkit's config, a name of timm, torchvision or transformers, a plain module."""

import contextlib
import inspect
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel, ImgDataPreprocessor
from PIL import Image
from torch import Tensor, nn

from ..config_files import buildable, is_distillation, read_config_file, student_of, without_pretrained
from ..nearest import nearest
from ..registry import MODELS

__all__ = ['SOURCES', 'build_module', 'build_teacher', 'source_of']


def source_of(model: str | dict) -> str | None:
    """Which of :data:`SOURCES` a name such as ``'timm::resnet50.a1_in1k'`` belongs to, if to any."""
    source = model.partition('::')[0] if isinstance(model, str) and '::' in model else None
    return source if source in SOURCES else None


def build_teacher(
    model: str | dict, pretrained: bool, weights: Mapping[str, Tensor] | None = None
) -> tuple[nn.Module, Config]:
    """Build a teacher; no toolkit's config makes it fetch weights.

    Args:
        model: A config path, a ``package::config`` name, a model dict, or a name of :data:`SOURCES`.
        pretrained: Take the weights that a name of :data:`SOURCES` stands for, which may ask for a download.
        weights: Those that it will get, which tell how many classes a model of timm is to have. They are not loaded.

    Returns:
        The model, and the config that it is from, which is empty for a name of :data:`SOURCES`.

    Raises:
        FileNotFoundError: If the config does not exist.
        ValueError: If it has no model, or what the name stands for cannot be had.
    """
    if source_of(model):
        found = _build_foreign(str(model), pretrained)
        if weights is not None and source_of(model) == 'timm':
            _give_classes(found, weights)
        return found, Config()
    config = Config(dict(model=model))
    if isinstance(model, str):
        what = f'teacher.model={model!r}'
        config = buildable(read_config_file(model, what), what)
    if is_distillation(config):  # a distilled student is a teacher like any other
        config.model = student_of(config.model)
    return build_module(without_pretrained(config.model)), config


def _build_foreign(name: str, pretrained: bool) -> nn.Module:
    """Build a model of another library, with a preprocessor that has the mean and deviation of its own metadata.

    Args:
        name: ``'timm::<name>[.<tag>]'`` or ``'torchvision::<name>[.<weights>]'``; without a tag or weights the default.
            ``'transformers::<folder>'``, with what ``save_pretrained`` writes, or a name of the Hugging Face Hub.
        pretrained: Take the weights that the name stands for, which may ask for a download.

    Returns:
        The model; its channels are RGB.

    Raises:
        ValueError: If the package or the model does not exist, if its metadata has no mean, or its weights cannot be
            loaded.
    """
    source, _, model = name.partition('::')
    package = _package(source, name)
    try:
        found, mean, std = SOURCES[source](package, name, model, pretrained)
    except OSError as exc:  # of the network, or of the disk that keeps downloads
        raise ValueError(
            f'teacher.model={name!r}: its weights cannot be downloaded ({exc}); set teacher.checkpoint to a file'
        ) from exc
    found.add_module('data_preprocessor', _preprocessor(mean, std))
    return found


def build_module(config: dict) -> nn.Module:
    """Build the model of a dict, either one with a preprocessor or a plain module, such as a backbone.

    Args:
        config: Of the model. A plain module, which takes no ``data_preprocessor``, gets it as a submodule.
    """
    named = config.get('type')
    kind: Any = MODELS.get(named) if isinstance(named, str) else named
    if kind is None or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return MODELS.build(config)
    config = dict(config)
    preprocessor = config.pop('data_preprocessor', None)
    model = MODELS.build(config)
    if not hasattr(model, 'data_preprocessor'):
        model.add_module('data_preprocessor', MODELS.build(preprocessor) if preprocessor else ImgDataPreprocessor())
    return model


def _give_classes(model: Any, weights: Mapping[str, Tensor]) -> None:
    """Give a model of timm as many classes as there are in weights, which may have been trained on other images."""
    classifier = model.get_classifier()
    for name, module in model.named_modules():
        bias = weights.get(f'{name}.bias')
        if module is classifier and bias is not None and module.bias.shape != bias.shape:
            model.reset_classifier(len(bias))
            return


def _package(source: str, name: str) -> ModuleType:
    try:
        return import_module(source)
    except ModuleNotFoundError as exc:
        raise ValueError(f'teacher.model={name!r} needs {source}: pip install {source}') from exc


def _preprocessor(mean: Any, std: Any) -> ImgDataPreprocessor:
    """A preprocessor with these statistics, given as fractions of 255."""
    return ImgDataPreprocessor([255 * value for value in mean], [255 * value for value in std], bgr_to_rgb=True)


def _timm(timm: Any, name: str, model: str, pretrained: bool) -> tuple[nn.Module, Any, Any]:
    if not timm.is_model(model.partition('.')[0]):
        raise ValueError(f'teacher.model={name!r}: timm has no such model{nearest(model, timm.list_models())}')
    kind, _, tag = model.partition('.')
    tags = [one.partition('.')[2] for one in timm.list_pretrained(f'{kind}.*')] if tag else []
    if tag not in ('', *tags):
        raise ValueError(f'teacher.model={name!r}: {kind} of timm has no such weights{nearest(tag, tags)}')
    found = _of_any_size(timm, model, pretrained)
    data = timm.data.resolve_model_data_config(found)
    return found, data['mean'], data['std']


def _of_any_size(timm: Any, model: str, pretrained: bool) -> nn.Module:
    """A model that takes images of any size where it can: a transformer is built for that of its weights alone."""
    # ViTs (and today's Swins) take the first, Swins of older versions the second. A class that does not know the option
    # says so before it has built a layer, read a file or drawn a random number.
    for option in (dict(dynamic_img_size=True), dict(strict_img_size=False)):
        with contextlib.suppress(TypeError):
            return timm.create_model(model, pretrained=pretrained, **option)
    return timm.create_model(model, pretrained=pretrained)


def _torchvision(torchvision: Any, name: str, model: str, pretrained: bool) -> tuple[nn.Module, Any, Any]:
    models = torchvision.models
    kind, _, tag = model.partition('.')
    if kind not in models.list_models():
        raise ValueError(f'teacher.model={name!r}: torchvision has no such model{nearest(kind, models.list_models())}')
    choices = models.get_model_weights(kind)
    if tag and tag not in choices.__members__:
        raise ValueError(f'teacher.model={name!r}: {kind} has no such weights{nearest(tag, list(choices.__members__))}')
    weights = choices[tag or 'DEFAULT']
    transform = weights.transforms()
    if not hasattr(transform, 'mean'):
        raise ValueError(
            f'teacher.model={name!r} normalizes its images internally, so the normalization that its inputs need is '
            'unknown; name a classifier or a segmentor'
        )
    options = dict(weights=weights if pretrained else None)
    if 'weights_backbone' in inspect.signature(models.get_model_builder(kind)).parameters:
        options['weights_backbone'] = None  # a segmentor's are in its own; without those it would download some
    return models.get_model(kind, **options), transform.mean, transform.std


def _transformers(transformers: Any, name: str, model: str, pretrained: bool) -> tuple[nn.Module, Any, Any]:
    folder = Path(model).expanduser()
    place = str(folder) if folder.is_dir() else model  # a name of the hub
    if place != model or not re.fullmatch(r'[\w.-]+(/[\w.-]+)?', model):
        _check_folder(name, folder)
    auto, config = transformers.AutoModel, transformers.AutoConfig
    found = auto.from_pretrained(place) if pretrained else auto.from_config(config.from_pretrained(place))
    takes = next(iter(inspect.signature(found.forward).parameters))
    if takes != 'pixel_values':
        raise ValueError(
            f'teacher.model={name!r} is not an image model: its first argument is {takes!r}, not pixel_values'
        )
    return found, *_normalization(name, transformers.AutoImageProcessor.from_pretrained(place))


def _normalization(name: str, processor: Any) -> tuple[list[float], list[float]]:
    """Mean and deviation, read off what an image processor makes of plain images: it may shift and scale them twice."""
    pixels = [
        processor(images=Image.new('RGB', (224, 224), color), return_tensors='pt')['pixel_values']
        for color in ('black', 'white', 'red')
    ]
    shape = pixels[0].shape
    if len(shape) == 4 and shape[:2] == (1, 3):
        # In the middle, since a processor may pad.
        black, white, red = (each[0, :, shape[2] // 2, shape[3] // 2].double() for each in pixels)
        if torch.allclose(red, torch.stack([white[0], *black[1:]])) and (white > black).all():
            std = 1 / (white - black)
            return (-black * std).tolist(), std.tolist()
    raise ValueError(
        f'teacher.model={name!r}: its image processor, {type(processor).__name__}, puts out values of shape '
        f'{tuple(shape)} that are not RGB images with a mean and a deviation for each channel'
    )


def _check_folder(name: str, folder: Path) -> None:
    for file in ('config.json', 'preprocessor_config.json'):
        if not (folder / file).is_file():
            what = f'has no {file}' if folder.is_dir() else 'does not exist'
            raise ValueError(
                f"teacher.model={name!r}: the folder {str(folder)!r} {what}; name one that a model's and an image "
                "processor's save_pretrained have written"
            )


SOURCES = dict(timm=_timm, torchvision=_torchvision, transformers=_transformers)
