"""In which order a model sees the channels of an image."""

from typing import Literal

from mmengine.config import Config
from torch import nn

from ..config_files import type_name
from ..toolkits import TOOLKITS, image_preprocessor

__all__ = ['ORDERS', 'ChannelOrder', 'loaded_order', 'seen_order']

ChannelOrder = Literal['rgb', 'bgr']
ORDERS: tuple[ChannelOrder, ChannelOrder] = ('rgb', 'bgr')

IN_MEMORY: dict[str, ChannelOrder] = {'CIFAR10': 'rgb', 'CIFAR100': 'rgb'}
# Steps of mmpretrain around torchvision's transforms, with the setting that lets them reverse the channels.
REVERSING = {'NumpyToPIL': 'to_rgb', 'PILToNumpy': 'to_bgr', 'ToNumpy': 'to_bgr'}


def loaded_order(config: Config) -> ChannelOrder | None:
    """The order in which a config's training images leave the data set; None where the config does not tell."""
    dataset = (config.get('train_dataloader') or {}).get('dataset') or {}
    while inner := dataset.get('dataset') or (dataset.get('datasets') or [None])[0]:  # repeated, concatenated
        dataset = inner
    steps = [(type_name(step), step) for step in dataset.get('pipeline') or []]
    from_file = any(name == 'LoadImageFromFile' for name, _ in steps)
    order: ChannelOrder | None = 'bgr' if from_file else IN_MEMORY.get(type_name(dataset))
    for name, step in steps:
        if order and step.get(REVERSING.get(name)):
            order = ORDERS[1 - ORDERS.index(order)]
    return order


def seen_order(preprocessor: nn.Module, loaded: ChannelOrder | None = None) -> ChannelOrder | None:
    """The order that a data preprocessor puts out.

    Args:
        preprocessor: Of any toolkit.
        loaded: The order of what it takes, if that is known.

    Returns:
        None where it cannot be known: the preprocessor reverses nothing, and its images may come in either order.
    """
    settings = vars(image_preprocessor(preprocessor))
    for toolkit in TOOLKITS.values():
        reverses = settings.get(toolkit.reverses_channels)
        if reverses:
            return 'bgr' if loaded == 'rgb' else 'rgb'
        if reverses is not None:
            return loaded or toolkit.loads
    return loaded
