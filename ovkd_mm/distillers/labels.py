"""The true classes in a batch's data samples, for a loss that takes them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ['labels_of']

# The toolkits' names for an image's class and for its pixels' classes.
IMAGE, PIXELS = 'gt_label', 'gt_sem_seg'


def _is_mixed(sample: Any) -> bool:
    """Whether an image is no longer of its class alone: Mixup and CutMix leave the label beside the scores."""
    return 'gt_score' in sample and sample.gt_score[sample.gt_label.item()] != 1


def labels_of(samples: Any) -> Tensor:
    """The true class of each image ``(N,)``, or of each pixel ``(N, H, W)``.

    Args:
        samples: The toolkit's data samples, or labels themselves.

    Raises:
        ValueError: If they hold no such thing.
    """
    if isinstance(samples, Tensor):
        return samples
    if isinstance(samples, Sequence) and samples:
        if all(IMAGE in sample and len(sample.gt_label) == 1 and not _is_mixed(sample) for sample in samples):
            return torch.cat([sample.gt_label for sample in samples])
        if all(PIXELS in sample for sample in samples):
            return torch.cat([sample.gt_sem_seg.data for sample in samples])
    raise ValueError(
        'the loss of the method takes the true class of each prediction, and the data samples have none: they are '
        'those of a detector, whose anchors are not assigned yet, or of images that were mixed or have several labels; '
        "take another method, such as '_base_/methods/kd.py'"
    )
