"""Random batches, as a toolkit's data loader would hand them over."""

from typing import Any

import torch

__all__ = ['random_batch']


def random_batch(toolkit: str, count: int, size: tuple[int, int], classes: int, channels: int = 3) -> dict[str, Any]:
    """Images of noise with labels of the toolkit's kind.

    Args:
        toolkit: ``'mmdet'``, ``'mmseg'`` or ``'mmpretrain'``.
        count: Images.
        size: ``(H, W)``, in pixels.
        classes: Number of classes to draw labels from.
        channels: Of an image.

    Returns:
        What the model's data preprocessor takes.

    Raises:
        ValueError: If the toolkit is another one.
    """
    if toolkit == 'mmdet':
        from mmdet.testing import demo_mm_inputs

        return demo_mm_inputs(count, [[channels, *size]] * count, num_classes=classes)
    images = torch.randint(256, (count, channels, *size), dtype=torch.uint8)
    if toolkit == 'mmseg':
        return dict(inputs=list(images), data_samples=[_mask(size, classes) for _ in range(count)])
    if toolkit == 'mmpretrain':
        from mmpretrain.structures import DataSample

        labels = torch.randint(classes, (count,)).tolist()
        return dict(inputs=images, data_samples=[DataSample().set_gt_label(label) for label in labels])
    raise ValueError(f'default_scope={toolkit!r}: random images are made for mmdet, mmseg and mmpretrain alone')


def _mask(size: tuple[int, int], classes: int) -> Any:
    """Patches of 16x16 pixels."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    patches = torch.randint(classes, (1, *(-(-edge // 16) for edge in size)))
    mask = patches.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, : size[0], : size[1]]
    return SegDataSample(gt_sem_seg=PixelData(data=mask), metainfo=dict(img_shape=size, ori_shape=size))
