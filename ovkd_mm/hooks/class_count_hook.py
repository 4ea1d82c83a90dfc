"""ClassCountHook: compares the classes of head and data set."""

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import Tensor
from torch.utils.data import DataLoader

from ..registry import HOOKS
from .classifying_heads import ClassifyingHead, classifying_heads

__all__ = ['ClassCountHook']


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Compares ``num_classes`` of the heads with the classes of the data set, and with the weights in their losses.

    With too few classes the loss stops with an index out of bounds (on a GPU, with a failed assertion somewhere later)
    or, in a detector, learns the class after its last one as background; with too many, training runs without a
    warning. Trackers are left aside, and so are the heads of a panoptic data set, which share its classes. Top-5
    accuracy with fewer than 5 classes would fail after an epoch.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare the heads with the training set, and the validation's metrics with its data set.

        Raises:
            ValueError: If a head has another number of classes, a loss has weights for another number, or a metric's
                ``topk`` exceeds it.
        """
        self._check(runner, runner.train_dataloader)
        for key, head in classifying_heads(runner.model).items():
            _check_weights(key, head)
        if runner.val_loop is not None:
            _check_metrics('val_evaluator', runner.val_loop)

    def before_val(self, runner: Runner) -> None:
        """Compare with the validation set."""
        self._check(runner, runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Compare with the test set."""
        self._check(runner, runner.test_dataloader)
        _check_metrics('test_evaluator', runner.test_loop)

    def _check(self, runner: Runner, loader: DataLoader) -> None:
        classes = _classes(loader)
        if classes is None or 'thing_classes' in _metainfo(loader):
            return
        for key, head in classifying_heads(runner.model).items():
            if head.classes != len(classes):
                raise ValueError(
                    f'{key}.{head.setting}={head.classes}, but {_has(loader, classes)}; set '
                    f'{key}.{head.setting}={len(classes)}, or other metainfo.classes of the data set'
                )


def _check_weights(key: str, head: ClassifyingHead) -> None:
    # Things and stuff together; a head for two classes may have one output, and many a loss counts the background, too.
    counts = {getattr(head.module, name) for name in ('num_classes', 'out_channels') if hasattr(head.module, name)}
    for name, part in head.module.named_modules(prefix=key):
        weights = getattr(part, 'class_weight', None)
        if isinstance(weights, (list, tuple, Tensor)) and counts.isdisjoint((len(weights), len(weights) - 1)):
            raise ValueError(
                f'{name}.class_weight has {len(weights)} numbers, but {key}.{head.setting}={head.classes}; '
                'give each class one'
            )


def _classes(loader: DataLoader) -> Sequence[str] | None:
    classes = _metainfo(loader).get('classes')
    if isinstance(classes, str):
        raise ValueError(
            f'metainfo.classes={classes!r} of {type(loader.dataset).__name__} is a text, whose letters '
            f'would be the classes; write a tuple, ({classes!r},)'
        )
    return classes


def _metainfo(loader: DataLoader) -> dict[str, Any]:
    return getattr(loader.dataset, 'metainfo', None) or {}


def _has(loader: DataLoader, classes: Sequence[str]) -> str:
    names = ', '.join([*classes[:3], *(['...'] if len(classes) > 3 else [])])
    return f'{type(loader.dataset).__name__} has {len(classes)} class{"" if len(classes) == 1 else "es"} ({names})'


def _check_metrics(key: str, loop: BaseLoop) -> None:
    classes = _classes(loop.dataloader)
    if classes is None:
        return
    for metric in loop.evaluator.metrics:
        if type(metric).__name__ == 'Accuracy' and max(getattr(metric, 'topk', ()), default=0) > len(classes):
            raise ValueError(f'{key}.topk={metric.topk}, but {_has(loop.dataloader, classes)}; set {key}.topk=1')
