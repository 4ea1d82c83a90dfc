"""A warning where a method compares distributions over classes, and the student learns each class by itself."""

import logging
from collections.abc import Iterable, Iterator

from mmengine.logging import print_log
from torch import nn

from ..positions import Place
from .feature_pair import FeaturePair

__all__ = ['warn_of_sigmoid_scores']

OF_SIGMOIDS = ('GaussianFocalLoss',)  # of heat maps, which CenterNet and CornerNet predict


def warn_of_sigmoid_scores(student: nn.Module, pairs: Iterable[FeaturePair]) -> None:
    """Warn of scores that the toolkits' losses take through a sigmoid (multi-label heads, most dense detectors).

    A softmax over them does not change when all of them rise alike, so that it teaches only part of what they say.

    Args:
        student: The student.
        pairs: Its pairs.
    """
    for pair in pairs:
        place = pair.student_place
        if pair.loss.over_classes and isinstance(place, Place) and (loss := _sigmoid_loss(student, place.path)):
            print_log(
                f'{type(pair.loss).__name__} compares distributions over classes, but the student learns each class of '
                f'{place.name} by itself ({loss} takes them through a sigmoid). It teaches which of them is '
                'more likely than another, not how likely each one is; a method on features (pairs) has no such limit',
                logger='current',
                level=logging.WARNING,
            )


def _sigmoid_loss(student: nn.Module, path: str) -> str | None:
    """The path of the loss of the head that a module belongs to, if that is one of single classes."""
    while path:
        path = path.rpartition('.')[0]
        for name, loss in _children(student.get_submodule(path)):
            sigmoid = True if type(loss).__name__ in OF_SIGMOIDS else getattr(loss, 'use_sigmoid', None)
            if sigmoid is not None:  # the loss of the classes comes first
                return f'{path}.{name}'.removeprefix('.') if sigmoid else None
    return None


def _children(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules right in one, and those in its lists: a head may have several losses."""
    for name, child in module.named_children():
        yield name, child
        if isinstance(child, nn.ModuleList):
            yield from ((f'{name}.{index}', one) for index, one in enumerate(child))
