"""The heads of a model whose classes are those of the data."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn

from ..distillers.method_hooks import unwrapped
from ..toolkits import TOOLKITS

__all__ = ['ClassifyingHead', 'classifying_heads']

CLASSIFIERS = {name for toolkit in TOOLKITS.values() for name in toolkit.classifiers}
HEADS = {name for toolkit in TOOLKITS.values() for name in toolkit.heads}
# Heads whose classes are not the data's: STDC's finds edges in the masks, the others take words.
OTHER_CLASSES = {'STDCHead', 'GroundingDINOHead', 'ATSSVLFusionHead'}
# Have no head of their own, but a whole network of another library in ``model``, which calls its number of classes so.
WRAPPERS = {'TimmClassifier': 'num_classes', 'HuggingFaceClassifier': 'num_labels'}
# Where things are counted apart from stuff.
SETTINGS = dict.fromkeys(('panoptic_head', 'panoptic_fusion_head'), 'num_things_classes')
TRACKING = {'detector', 'reid'}  # a tracker's data have other classes than its detector; its re-ID tells persons apart


class ClassifyingHead(NamedTuple):
    """A head, or a whole network, and what its number of classes is called in it and in the config."""

    module: Any
    setting: str = 'num_classes'

    @property
    def classes(self) -> int:
        """Their number."""
        return getattr(self.module, self.setting)


def classifying_heads(model: nn.Module) -> dict[str, ClassifyingHead]:
    """The heads that say how many classes of the data they have, by their keys in the config.

    Left aside are those of trackers, of proposals, and whose classes are others than the data's.

    Args:
        model: A model of any toolkit, or a distiller, of which the student's are meant.
    """
    heads: dict[str, ClassifyingHead] = {}
    whole: list[str] = []
    # In a distiller's own names the student's begin with 'student.', as they do in the config.
    for path, module in unwrapped(model).named_modules(prefix='model'):
        if _within(path, whole) or not TRACKING.isdisjoint(path.split('.')):
            continue
        if setting := WRAPPERS.get(type(module).__name__):
            heads[path] = ClassifyingHead(module.get_submodule('model'), setting)
            whole.append(path)
        elif _is_head(path, module):
            heads[path] = ClassifyingHead(module, SETTINGS.get(_name(path), 'num_classes'))
    # K-Net's head takes its number from one in it, which the config names.
    return {key: head for key, head in heads.items() if not any(_within(other, [key]) for other in heads)}


def _within(path: str, places: Sequence[str]) -> bool:
    return any(path.startswith(f'{place}.') for place in places)


def _is_head(path: str, module: nn.Module) -> bool:
    named = bool(CLASSIFIERS.intersection(dict(module.named_children()))) or _name(path) in HEADS
    kind, settings = type(module).__name__, vars(module)
    other = kind in OTHER_CLASSES or kind.endswith('RPNHead') or settings.get('class_agnostic')
    # Networks without their last layer have 0 (timm) or -1 (mmpretrain) classes.
    return named and not other and (settings.get('num_classes') or 0) > 0


def _name(path: str) -> str:
    """The last name in a path that is no number in a list."""
    return next(name for name in reversed(path.split('.')) if not name.isdecimal())
