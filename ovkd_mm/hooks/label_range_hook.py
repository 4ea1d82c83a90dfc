"""LabelRangeHook: names the file whose labels are not classes."""

from collections.abc import Sequence
from operator import itemgetter

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..registry import HOOKS
from .classifying_heads import classifying_heads

__all__ = ['LabelRangeHook']

VOID = 255  # for a segmentation head that does not say otherwise
SHOWN = 5  # of the labels that are not classes


@HOOKS.register_module()
class LabelRangeHook(Hook):
    """Looks for labels that are not classes in each batch of a training, before the model gets it.

    The toolkits' data sets accept whatever their files hold. A label beyond the classes then stops the loss with an
    index out of bounds (on a GPU, with a failed assertion somewhere later), which does not name the file. The check
    takes about 1 ms for a mask of 512x1024; it sees masks after cropping, so a label may be found late.

    How many classes there are is taken from the data set or, where it does not name them, from the model's heads.
    """

    def before_train(self, runner: Runner) -> None:
        """Find out what labels there may be."""
        dataset = runner.train_dataloader.dataset
        heads = classifying_heads(runner.model)
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        counts: dict[str, int] = {key: head.classes for key, head in heads.items()}
        if classes is not None:
            counts = {type(dataset).__name__: len(classes)}
        self._knows_classes = bool(counts)
        self._owner, self._count = min(counts.items(), key=itemgetter(1), default=('', 0))
        voids = [{head.module.ignore_index} for head in heads.values() if 'ignore_index' in vars(head.module)]
        self._voids = set.intersection(*voids) if voids else {VOID}
        self._heads = list(heads) or ['the head']

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None) -> None:
        """Look at a batch.

        Raises:
            ValueError: If it has a label that is not a class.
        """
        samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
        if not self._knows_classes or not isinstance(samples, Sequence):
            return
        for sample in samples:
            if not isinstance(sample, BaseDataElement):
                continue
            if 'gt_instances' in sample:  # a semantic mask beside boxes has classes of its own
                self._check_labels(sample, sample.gt_instances.get('labels'))
            elif 'gt_sem_seg' in sample:
                self._check_mask(sample, sample.gt_sem_seg.data.numpy(force=True))
            elif 'gt_label' in sample:
                self._check_labels(sample, sample.gt_label)

    def _check_labels(self, sample: BaseDataElement, labels: Tensor | None) -> None:
        wrong = [] if labels is None else labels[(labels < 0) | (labels >= self._count)].tolist()
        if wrong:
            raise ValueError(
                f'the image {sample.get("img_path")!r} has the label {wrong[0]}, but {self._classes(0)}. Fix the '
                'annotation (labels count from 0), or name all classes in metainfo.classes of train_dataloader.dataset '
                f'and set num_classes of {self._heads[0]} to their number'
            )

    def _check_mask(self, sample: BaseDataElement, mask: np.ndarray) -> None:
        # A single class is told from the background, so that its labels are 0 and 1.
        wrong = (mask < 0) | (mask >= max(self._count, 2))
        for void in self._voids:
            wrong &= mask != void
        if not wrong.any():
            return
        first = int(sample.get('reduce_zero_label') or 0)  # what the file calls 1 is 0 here
        values, counts = np.unique(mask[wrong], return_counts=True)
        found = [
            f'{value + first} ({count} pixel{"s" if count > 1 else ""})'
            for value, count in zip(values[:SHOWN], counts, strict=False)
        ]
        voids = ' and '.join(str(value) for value in sorted(self._voids))
        raise ValueError(
            f'the mask {sample.get("seg_map_path", sample.get("img_path"))!r} has the label'
            f'{"s" if len(values) > 1 else ""} {", ".join(found)}{", ..." if len(values) > SHOWN else ""}, but '
            f'{self._classes(first)}{f"; {voids} is void" if voids else ""}. {self._fix(values.tolist(), first)}'
        )

    def _classes(self, first: int) -> str:
        which = (
            f'{self._count} classes {first} to {first + self._count - 1}' if self._count > 1 else f'one class {first}'
        )
        return f'{self._owner} has the {which}'

    def _fix(self, values: list[int], first: int) -> str:
        fixes = []
        if len(values) == 1 and values[0] != VOID:
            where = ', '.join(f'{head}.ignore_index={values[0]}' for head in self._heads)
            fixes.append(
                f'If {values[0] + first} is void, set {where}, seg_pad_val={values[0]} of its data_preprocessor and '
                f'val_evaluator.ignore_index={values[0]}'
            )
        if not first and values[-1] == self._count:
            fixes.append(
                'If the masks count the classes from 1, set reduce_zero_label=True of train_dataloader.dataset'
            )
        rest = 'fix the mask, or name all classes in metainfo.classes and count them in num_classes'
        return '. '.join([*fixes, f'Otherwise {rest}' if fixes else f'F{rest[1:]}'])
