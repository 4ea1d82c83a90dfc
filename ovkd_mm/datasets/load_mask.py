"""LoadMask: loads a segmentation mask and refuses a file that is not one."""

import mmcv
import numpy as np
from mmengine.fileio import get
from mmseg.datasets.transforms import LoadAnnotations

from ..registry import TRANSFORMS

__all__ = ['LoadMask']

VOID = 255  # for mmseg, whatever the classes
SHOWN = 5  # of the values that are not a class


@TRANSFORMS.register_module()
class LoadMask(LoadAnnotations):
    """mmseg's ``LoadAnnotations`` that refuses a mask it would misread, naming the file.

    mmseg's transform takes whatever the file holds: a pixel of an unknown class then stops the loss with an index out
    of range (on a GPU, with a failed assertion somewhere later), and a color picture or a mask of another size
    makes some transform fail.

    The checks come before ``reduce_zero_label`` and ``label_map`` change the values. How many classes there are is
    taken from ``label_map`` or from ``num_classes``, which ``ovkd_mm.PascalVOCDataset`` gives; with a data set that
    gives neither, all values up to 255 pass. What the data set gives as ``ignore_index``, a value in the file, becomes
    255. The size is compared with the image's, so ``LoadImageFromFile`` comes
    first. An image that comes from no data set has no mask and passes: mmseg's inference takes only its own transform
    out of a test pipeline.

    Args:
        reduce_zero_label: Must equal the data set's; better left out.
        backend_args: Of mmengine's file backend.
        imdecode_backend: Of ``mmcv.imfrombytes``; only ``'pillow'`` reads the indices of a palette PNG.

    Raises:
        FileNotFoundError: If the mask does not exist.
        ValueError: If the image has no mask, ``reduce_zero_label`` is not the data set's, the mask cannot be decoded,
            is a color picture, is not as large as its image or holds a value that is neither a class nor void.
    """

    def _load_seg_map(self, results: dict) -> None:
        if 'seg_fields' not in results:
            return
        reduce_zero_label = results['reduce_zero_label']
        if self.reduce_zero_label not in (None, reduce_zero_label):
            raise ValueError(
                f'reduce_zero_label={self.reduce_zero_label} of LoadMask is not the reduce_zero_label='
                f'{reduce_zero_label} of its data set; set it there and leave it out here'
            )
        if results.get('seg_map_path') is None:
            raise ValueError(
                f'the image {results["img_path"]!r} has no mask: set data_prefix.seg_map_path of its data set to the '
                "masks' folder, or leave LoadMask out"
            )
        path = results['seg_map_path']
        mask = self._read(path)
        if mask.ndim != 2 or mask.dtype.kind not in 'biu':
            raise ValueError(
                f'the mask {path!r} is not a map of class indices, but a picture of shape {mask.shape} and type '
                f'{mask.dtype}. Save masks as gray or palette PNG, one index a pixel: 0 for the first class, 1 for the '
                f"second, {VOID} for void; and read them with imdecode_backend='pillow'"
            )
        _check_size(mask, results)
        label_map = results.get('label_map')
        void = results.get('ignore_index', VOID)
        num_classes = len(label_map) if label_map else results.get('num_classes')
        _check_values(mask, path, num_classes, reduce_zero_label, void)
        super()._load_seg_map(results)
        results['gt_seg_map'][mask == void] = VOID

    def _read(self, path: str) -> np.ndarray:
        try:
            content = get(path, backend_args=self.backend_args)
        except FileNotFoundError:
            raise FileNotFoundError(f'the mask {path!r} does not exist') from None
        try:
            return mmcv.imfrombytes(content, flag='unchanged', backend=self.imdecode_backend).squeeze()
        except Exception as error:  # each decoder has its own
            raise ValueError(f'the mask {path!r} cannot be decoded. Copy or make it again') from error


def _check_size(mask: np.ndarray, results: dict) -> None:
    # In a test pipeline the image may have been resized by now.
    size = results.get('ori_shape')
    if size is None or mask.shape == tuple(size[:2]):
        return
    turned = ''
    if mask.shape == tuple(size[1::-1]):
        turned = (
            ", or, if the image's Exif data turn it, load it with dict(type='LoadImageFromFile', "
            "color_type='color_ignore_orientation')"
        )
    raise ValueError(
        f'the mask {results["seg_map_path"]!r} is {mask.shape[1]}x{mask.shape[0]}, but its image '
        f'{results["img_path"]!r} is {size[1]}x{size[0]} (width x height). Make the mask again{turned}'
    )


def _check_values(mask: np.ndarray, path: str, num_classes: int | None, reduce_zero_label: bool, void: int) -> None:
    first = int(reduce_zero_label)
    # Without a number of classes, at least what mmseg's 8 bits would wrap round is refused.
    last = VOID if num_classes is None else first + num_classes - 1
    wrong = mask[((mask < 0) | (mask > last)) & (mask != VOID) & (mask != void)]
    if not wrong.size:
        return
    values, counts = np.unique(wrong, return_counts=True)
    found = [
        f'{value} ({count} pixel{"s" if count > 1 else ""})'
        for value, count in zip(values[:SHOWN], counts, strict=False)
    ]
    more = f' and {len(values) - SHOWN} more' if len(values) > SHOWN else ''
    raise ValueError(
        f'the mask {path!r} holds {", ".join(found)}{more}: no class has such a value. '
        f'{_meaning(num_classes, reduce_zero_label, void)}. {_fix(mask, values, num_classes)}'
    )


def _meaning(num_classes: int | None, reduce_zero_label: bool, void: int) -> str:
    if num_classes is None:
        return f'Values go from 0 to {VOID}'
    *voids, last = sorted({void, VOID} | ({0} if reduce_zero_label else set()))
    which = f'{", ".join(map(str, voids))} and {last} are void' if voids else f'{last} is void'
    if reduce_zero_label:
        return f'With reduce_zero_label=True the {num_classes} classes are 1 to {num_classes}; {which}'
    return f'The {num_classes} classes are 0 to {num_classes - 1}; {which}'


def _fix(mask: np.ndarray, values: np.ndarray, num_classes: int | None) -> str:
    void = f'if {values[0]} is void, set ignore_index={values[0]} of the data set'
    if values.tolist() == [num_classes] and (mask != 0).all():  # with reduce_zero_label it would be a class
        return f'If your masks count the classes from 1, set reduce_zero_label=True of the data set; {void}'
    reason = (
        'either metainfo.classes of the data set lacks a class, or the file is not a mask of class indices but, say, a '
        'gray picture or a JPEG, which blurs them'
    )
    fix = f'{void}; else {reason}' if len(values) == 1 and num_classes is not None else reason
    return fix[0].upper() + fix[1:]
