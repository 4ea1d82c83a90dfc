"""PascalVOCDataset: PASCAL VOC's segmentation and folders laid out like it."""

import os.path as osp
from collections.abc import Sequence
from typing import Any

from mmengine.fileio import exists, isdir, join_path
from mmseg.datasets import BaseSegDataset
from mmseg.datasets import PascalVOCDataset as MMSegPascalVOCDataset

from ..registry import DATASETS
from ..whole_image import WholeImages
from .split_list import (
    HOW_TO_GET_VOC,
    as_list,
    check_classes,
    check_disjoint,
    config_key,
    read_split,
    what_ids_are,
)

__all__ = ['PascalVOCDataset']

HOW_TO_GET_SBD = (
    "SBD's masks (SegmentationClassAug) and list (ImageSets/Segmentation/aug.txt) are made from its benchmark.tgz "
    '(https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz) by '
    '`python tools/dataset_converters/voc_aug.py data/VOCdevkit <unpacked>/benchmark_RELEASE --nproc 8` of '
    'mmsegmentation (pip puts its tools into mmseg/.mim). To train on the masks of VOC2012 alone, set '
    'ann_file=ImageSets/Segmentation/train.txt and data_prefix.seg_map_path=SegmentationClass'
)

DISJOINT = "Take disjoint lists: SBD's aug.txt holds none of VOC's train.txt, trainaug.txt all of it"


@DATASETS.register_module()
class PascalVOCDataset(WholeImages, MMSegPascalVOCDataset):
    """mmseg's ``PascalVOCDataset``, but it joins several splits and takes your own classes.

    What is wrong with a folder stops the run with an error that names the file: missing lists, images and masks when
    the data set is built, broken images when they are loaded, broken masks when ``ovkd_mm.LoadMask`` loads them.

    The values in the masks count either VOC's 21 classes, of which those not in ``metainfo.classes`` become void, as in
    mmseg, or the classes of ``metainfo.classes`` themselves: 0 for the first, 255 for void. A name that VOC lacks means
    the latter; a subset of VOC's names may mean either, and then ``own_masks`` has to be set.

    Args:
        ann_file: A split list (one image id a line) or several, below ``data_root``. VOC2012's ``train.txt`` and SBD's
            ``aug.txt`` make one data set.
        data_root: Folder that ``ann_file`` and ``data_prefix`` are relative to.
        data_prefix: The folders ``img_path`` and ``seg_map_path``; of masks, one for all lists or one each. Without
            ``seg_map_path`` the images have no masks.
        reduce_zero_label: Whether the masks' 0 is void and 1 the first class; not for VOC, whose 0 is a class.
        ignore_index: One more value that is void in the masks, such as CamVid's 11; ``ovkd_mm.LoadMask`` makes it 255,
            which is what losses and metrics leave out. It counts as the files do, before ``reduce_zero_label``. If it
            is a class's value, nothing of that class is learned. (mmseg's data sets have this option, but do nothing
            with it.)
        own_masks: Whether the masks count ``metainfo.classes``, and not VOC's classes; None where the names tell.
        **kwargs: As mmseg's, for example ``metainfo=dict(classes=..., palette=...)``, ``img_suffix``.

    Raises:
        FileNotFoundError: If a split list, a folder, an image or a mask is missing.
        TypeError: If ``ignore_index`` is not a whole number.
        ValueError: If a split is empty or has an id that leads out of the folder, an image is named twice, the folders
            of masks are neither one nor one for each list, it is ambiguous which classes the masks count,
            ``reduce_zero_label`` would void a background class, or (on loading) an image is broken.
    """

    def __init__(
        self,
        ann_file: str | Sequence[str],
        data_root: str | None = None,
        data_prefix: dict | None = None,
        reduce_zero_label: bool = False,
        ignore_index: int = 255,
        own_masks: bool | None = None,
        img_suffix: str = '.jpg',
        seg_map_suffix: str = '.png',
        **kwargs: Any,
    ) -> None:
        self._key = config_key(kwargs.get('test_mode', False))  # for errors
        prefix = dict(data_prefix or {})
        if type(ignore_index) is not int:
            raise TypeError(f'ignore_index of {self._key} must be one whole number, got {ignore_index!r}')
        lists, masks = as_list(f'ann_file of {self._key}', ann_file), prefix.pop('seg_map_path', None)
        folders: list = [None] if masks is None else as_list(f'data_prefix.seg_map_path of {self._key}', masks)
        if len(folders) not in (1, len(lists)):
            raise ValueError(
                f'ann_file of {self._key} names {len(lists)} split lists, {lists}, but data_prefix.seg_map_path '
                f'{len(folders)} folders of masks, {folders}. Name one for all lists or one for each'
            )
        root = data_root or ''
        self._splits: list[tuple[str, str | None]] = [
            (join_path(root, split), None if folder is None else join_path(root, folder))
            for split, folder in zip(lists, folders * (len(lists) // len(folders)), strict=True)
        ]
        self._own_masks = own_masks
        self._has_masks = folders[0] is not None
        # Not mmseg's class for VOC, whose constructor does no more than to assert that one list exists.
        BaseSegDataset.__init__(
            self,
            ann_file=lists[0],
            data_root=data_root,
            data_prefix={'img_path': '', **prefix, **({} if folders[0] is None else {'seg_map_path': folders[0]})},
            reduce_zero_label=reduce_zero_label,
            ignore_index=ignore_index,
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            **kwargs,
        )

    @classmethod
    def _load_metainfo(cls, metainfo: dict | None = None) -> dict:
        loaded = super()._load_metainfo(metainfo)
        classes = loaded['classes']
        check_classes(classes)
        if 'palette' not in (metainfo or {}):
            colors = dict(zip(cls.METAINFO['classes'], cls.METAINFO['palette'], strict=True))
            vocs = colors.keys() >= set(classes)
            loaded['palette'] = [colors[name] for name in classes] if vocs else []  # mmseg then draws one
        return loaded

    def get_label_map(self, new_classes: Sequence[str]) -> dict[int, int] | None:
        """Tell which class each value of a mask becomes.

        Args:
            new_classes: The classes to tell apart.

        Returns:
            mmseg's map if the masks count VOC's classes and ``new_classes`` differ; None if they count ``new_classes``.

        Raises:
            ValueError: If it is open what the masks count, or they are VOC's and VOC lacks a class.
        """
        vocs, wanted = list(self.METAINFO['classes']), list(new_classes)
        own = [name for name in wanted if name not in vocs]
        if self._own_masks is False and own:
            raise ValueError(
                f"own_masks=False of {self._key} says that the masks count VOC's classes, but of those in "
                f'metainfo.classes VOC lacks {own}. Leave them out, or set own_masks=True if the masks count yours'
            )
        if self._own_masks is None and self._has_masks and not own and wanted != vocs:
            example = next((name for index, name in enumerate(wanted) if vocs[index] != name), wanted[-1])
            raise ValueError(
                f"the names in metainfo.classes of {self._key}, {wanted}, are all VOC's too, which leaves open whether "
                f'the masks count these {len(wanted)} classes or all of VOC. Set own_masks=True of it if '
                f'{example!r} is {wanted.index(example)} in your masks; set own_masks=False if it is '
                f"{vocs.index(example)}, as in VOC's, of which all other classes then become void"
            )
        return None if own or self._own_masks else super().get_label_map(new_classes)

    def load_data_list(self) -> list[dict]:
        """Read all splits.

        Returns:
            mmseg's dict of each image, in the order of the lists, with ``num_classes`` and ``ignore_index`` for
            ``LoadMask``.
        """
        classes = self._metainfo['classes']
        if self.reduce_zero_label and (self.label_map or classes[0] == 'background'):
            raise ValueError(
                f'reduce_zero_label=True of {self._key} would make the value 0 void and lower all others by one, but '
                "here 0 is a class of its own, 'background'. Set reduce_zero_label=False"
            )
        data_list: list[dict] = []
        split_of: dict[str, str] = {}
        for ann_file, folder in self._splits:
            img_ids = read_split(ann_file, self.data_root, self._fix_for_list(ann_file), self.backend_args)
            check_disjoint(img_ids, ann_file, split_of, DISJOINT)
            infos = [self._data_info(img_id, folder) for img_id in img_ids]
            for key, within in (('img_path', self.data_prefix['img_path']), ('seg_map_path', folder)):
                if within is not None:
                    files = {img_id: info[key] for img_id, info in zip(img_ids, infos, strict=True)}
                    self._check_files(key, within, files, ann_file)
            data_list += infos
        return data_list

    def _data_info(self, img_id: str, folder: str | None) -> dict:
        info = dict(
            img_path=osp.join(self.data_prefix['img_path'], img_id + self.img_suffix),
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
            seg_fields=[],
            num_classes=len(self._metainfo['classes']),
            ignore_index=self.ignore_index,
        )
        if folder is not None:
            info['seg_map_path'] = osp.join(folder, img_id + self.seg_map_suffix)
        return info

    def _fix_for_list(self, ann_file: str) -> str:
        fix = f'Point data_root and ann_file of {self._key} to your VOC folder, say data/VOCdevkit/VOC2012'
        return f'{fix}. {HOW_TO_GET_SBD if self._is_sbds(ann_file) else HOW_TO_GET_VOC}'

    def _is_sbds(self, path: str) -> bool:
        """Whether VOC's folder is there and what it lacks is SBD's part."""
        return 'aug' in osp.basename(osp.normpath(path)).lower() and (not self.data_root or osp.isdir(self.data_root))

    def _check_files(self, key: str, folder: str, files: dict[str, str], ann_file: str) -> None:
        fix = f'Set data_prefix.{key} (or {key.removesuffix("_path")}_suffix) of {self._key} to what your folder has'
        if self._is_sbds(folder):
            fix = f'{fix}. {HOW_TO_GET_SBD}'
        if not isdir(folder, backend_args=self.backend_args):
            raise FileNotFoundError(f'the folder {folder!r} does not exist. {fix}')
        missing = [img_id for img_id, file in files.items() if not exists(file, backend_args=self.backend_args)]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of the {len(files)} files that {ann_file!r} asks for in {folder!r} do not exist; the '
                f'first is {files[missing[0]]!r}. {what_ids_are(missing[0])}. {fix}'
            )
