"""VOCDataset: PASCAL VOC and folders laid out like it."""

import logging
import os.path as osp
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from typing import Any

import cv2
import torch
from mmdet.datasets import VOCDataset as MMDetVOCDataset
from mmengine.fileio import get, join_path
from mmengine.logging import print_log

from ..registry import DATASETS
from ..whole_image import WholeImages, run_pipeline
from .annotation_xml import refuse_entities
from .split_list import (
    HOW_TO_GET_VOC,
    as_list,
    check_classes,
    check_disjoint,
    config_key,
    read_split,
    what_ids_are,
)

__all__ = ['VOCDataset']

SHOWN = 3  # of the degenerate boxes


@DATASETS.register_module()
class VOCDataset(WholeImages, MMDetVOCDataset):
    """mmdet's ``VOCDataset`` that takes several splits and skips nothing silently.

    What is wrong with a folder stops the run with an error that names the file: split lists and annotations when the
    data set is built, images when they are loaded. mmdet's class leaves out objects of unknown classes without a word,
    trains on degenerate boxes, fills up cut-off images with gray, and in a VOC2007 or VOC2012 folder its metric prints
    VOC's class names whatever the classes are.

    Boxes are mmdet's: pixels count from 0, and the last row and column are outside, so VOC's box of one pixel,
    ``xmin == xmax``, would be empty; here it is one pixel wide, and the log says how many there are.

    Args:
        ann_file: A split list (one image id a line) or several, below ``data_root``. The images and annotations lie in
            the folder that holds ``ImageSets``, ``VOC2012/`` for ``VOC2012/ImageSets/Main/train.txt``, unless
            ``data_prefix=dict(sub_data_root=...)`` names another.
        data_root: Folder that ``ann_file`` and ``data_prefix`` are relative to.
        data_prefix: See ``ann_file``.
        skip_degenerate_boxes: Leave out boxes that do not end behind the pixel where they begin (those of one pixel,
            too) or lie outside their image, in training and in evaluation alike; the log has their number and some of
            them. An image that has only such boxes is one without boxes. The default stops at the first that cannot be
            a box.
        skip_other_classes: Leave out objects whose class is not among the classes; the log has how many of each. The
            default stops at the first.
        **kwargs: As mmdet's, for example ``metainfo=dict(classes=...)``, ``filter_cfg``, ``img_subdir``.

    Raises:
        FileNotFoundError: If a split list or an annotation (or, on loading, an image) is missing.
        ValueError: If a split is empty or has an id that leads out of the folder, an image is named twice, nothing is
            left after ``filter_cfg``, an annotation is broken, holds a class that is not among the classes (unless
            ``skip_other_classes``) or a box that cannot be one, or (on loading) an image is broken.
    """

    def __init__(
        self,
        ann_file: str | Sequence[str],
        data_root: str | None = '',
        data_prefix: dict | None = None,
        skip_degenerate_boxes: bool = False,
        skip_other_classes: bool = False,
        **kwargs: Any,
    ) -> None:
        self._skip_degenerate = skip_degenerate_boxes
        self._skip_others = skip_other_classes
        self._misfit = torch.zeros((), dtype=torch.bool).share_memory_()  # with the processes that load
        folder = (data_prefix or {}).get('sub_data_root')
        splits = [(split, _voc_folder(split) if folder is None else folder) for split in as_list('ann_file', ann_file)]
        # mmdet joins the first with data_root itself.
        self._splits = [tuple(join_path(data_root or '', path) for path in split) for split in splits]
        super().__init__(
            ann_file=splits[0][0],
            data_root=data_root,
            data_prefix={**(data_prefix or {}), 'sub_data_root': splits[0][1]},
            **kwargs,
        )
        if tuple(self._metainfo['classes']) != self.METAINFO['classes']:
            # VOCMetric names the classes of a VOC2007 or VOC2012 folder by VOC's own list.
            self._metainfo['dataset_type'] = None

    def load_data_list(self) -> list[dict]:
        """Read all splits.

        Returns:
            One dict an image, in the order of the lists.
        """
        classes = self._metainfo['classes']
        check_classes(classes)
        self.cat2label = {name: label for label, name in enumerate(classes)}
        first_folder = self.sub_data_root
        self._degenerate: list[str] = []
        self._others: Counter[str] = Counter()
        data_list: list[dict] = []
        split_of: dict[str, dict[str, str]] = {}
        for ann_file, folder in self._splits:
            img_ids = self._read_split(ann_file)
            check_disjoint(img_ids, ann_file, split_of.setdefault(osp.normpath(folder), {}), 'Take disjoint lists')
            self.data_prefix['sub_data_root'] = folder
            data_list += [
                self.parse_data_info(
                    dict(
                        img_id=img_id,
                        file_name=osp.join(self.img_subdir, f'{img_id}.jpg'),
                        xml_path=osp.join(folder, self.ann_subdir, f'{img_id}.xml'),
                    )
                )
                for img_id in img_ids
            ]
        self.data_prefix['sub_data_root'] = first_folder
        self._tell_of_other_classes()
        self._tell_of_degenerate_boxes()
        return data_list

    def _tell_of_other_classes(self) -> None:
        if self._others:
            lists = [split for split, _ in self._splits]
            counts = ', '.join(f'{name!r} {number}' for name, number in self._others.most_common())
            print_log(f'objects of other classes left out of {lists}: {counts}', 'current')

    def _tell_of_degenerate_boxes(self) -> None:
        if not self._degenerate:
            return
        lists = [split for split, _ in self._splits]
        what, then = f'degenerate boxes left out of {lists}', ''
        if not self._skip_degenerate:
            what = f'boxes that begin and end in one pixel in {lists}'
            then = (
                f'; they stay, one pixel wide. If they are slips, set {self._option("skip_degenerate_boxes")}, which '
                'leaves them out'
            )
        examples = '; '.join(self._degenerate[:SHOWN])
        print_log(f'{what}: {len(self._degenerate)}, such as {examples}{then}', 'current', logging.WARNING)

    def _option(self, name: str) -> str:
        return f'{name}=True of {config_key(self.test_mode)}'

    def _read_split(self, ann_file: str) -> list[str]:
        fix = f'Point data_root and ann_file of {config_key(self.test_mode)} to your VOC folder. {HOW_TO_GET_VOC}'
        return read_split(ann_file, self.data_root, fix, self.backend_args)

    def parse_data_info(self, img_info: dict) -> dict:
        """Read one annotation as mmdet does, and check it.

        Args:
            img_info: ``img_id``, ``file_name`` and ``xml_path``.

        Returns:
            mmdet's dict of an image.
        """
        xml_path = img_info['xml_path']
        try:
            refuse_entities(get(xml_path, backend_args=self.backend_args))
            info = super().parse_data_info(img_info)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'{error.filename!r} does not exist, but its id {img_info["img_id"]!r} is in a split list of '
                f'{[split for split, _ in self._splits]}. {what_ids_are(img_info["img_id"])}'
            ) from None
        except ET.ParseError as error:
            raise ValueError(f'{xml_path!r} is not well-formed XML: {error}') from error
        except (AttributeError, TypeError, OverflowError, cv2.error) as error:
            raise ValueError(
                f'{xml_path!r} is not a VOC annotation. Each <object> needs <name> and <bndbox> with <xmin>, <ymin>, '
                '<xmax> and <ymax> in pixels; without <size>, <width> and <height> the image must be readable'
            ) from error
        except ValueError as error:
            raise ValueError(f'{xml_path!r}: {error}') from error
        self._check_boxes(info)
        return info

    def _check_boxes(self, info: dict) -> None:
        """Leave out degenerate boxes, or refuse those that cannot be boxes.

        Raises:
            ValueError: If one is refused, or the image has no size.
        """
        width, height = info['width'], info['height']
        if width <= 0 or height <= 0:
            raise ValueError(f'{info["xml_path"]!r}: <size> is {width}x{height}')
        kept = []
        for instance in info['instances']:
            one_pixel, broken = instance.pop('flaws')
            broken = broken or _outside(instance['bbox'], width, height)
            if one_pixel or broken:
                name = self._metainfo['classes'][instance['bbox_label']]
                found = f'{info["xml_path"]!r}: the box of {name!r} {broken or one_pixel}'
                if broken and not self._skip_degenerate:
                    raise ValueError(
                        f'{found}. Fix the annotation, or leave all such boxes out and have them counted with '
                        f'{self._option("skip_degenerate_boxes")}'
                    )
                self._degenerate.append(found)
            if not self._skip_degenerate or not (one_pixel or broken):
                kept.append(instance)
        info['instances'] = kept

    def _parse_instance_info(self, raw_ann_info: ET.ElementTree, minus_one: bool = True) -> list[dict]:
        root = next(raw_ann_info.iter()).tag
        if root.startswith('{'):
            raise ValueError(
                f'its elements are in the XML namespace {root[1:].partition("}")[0]!r}: take the xmlns out'
            )
        objects = raw_ann_info.findall('object')
        others = Counter(name for obj in objects if (name := _text(obj, 'name')) not in self.cat2label)
        if others and not self._skip_others:
            raise ValueError(
                f'the class {", ".join(map(repr, sorted(others)))} is not among the classes {list(self.cat2label)}. '
                'Name your own with metainfo=dict(classes=...), or leave such objects out and have them counted with '
                f'{self._option("skip_other_classes")}'
            )
        self._others += others
        flaws = [_flaws(obj) for obj in objects if _text(obj, 'name') in self.cat2label]
        instances = super()._parse_instance_info(raw_ann_info, minus_one)
        return [dict(instance, flaws=flaw) for instance, flaw in zip(instances, flaws, strict=True)]

    def prepare_data(self, idx: int) -> Any:
        """Send an image through the pipeline, and warn of the first that is not of the size that its annotation says.

        Its boxes are those of another image: turned by its Exif tag, resized, or given the wrong annotation.
        """
        info = self.get_data_info(idx)
        said = info['width'], info['height']
        found = run_pipeline(self.pipeline, info, self.backend_args)
        shape = info.get('ori_shape')  # where it was loaded in place, as mmcv does
        if shape and shape[1::-1] != said and not self._misfit:
            self._misfit.fill_(True)
            print_log(
                f'{info["img_path"]!r} has {shape[1]}x{shape[0]} pixels and {info["xml_path"]!r} says '
                f'{said[0]}x{said[1]}, so its boxes lie elsewhere. LoadImageFromFile loads an image that is turned '
                "by its Exif tag as it lies in the file with color_type='color_ignore_orientation'. More such images "
                'are not mentioned',
                'current',
                logging.WARNING,
            )
        return found

    def filter_data(self) -> list[dict]:
        """Filter as mmdet does.

        Returns:
            What is left.
        """
        left = super().filter_data()
        if not left:
            raise ValueError(
                f'filter_cfg={self.filter_cfg} leaves none of the {len(self.data_list)} images of '
                f'{[split for split, _ in self._splits]}'
            )
        return left


def _voc_folder(ann_file: str) -> str:
    """What comes before ``ImageSets`` in a path, or nothing."""
    return f'/{ann_file}'.rpartition('/ImageSets/')[0][1:]


def _flaws(obj: ET.Element) -> tuple[str, str]:
    """What is odd about a box, and what makes it invalid; each empty if there is nothing.

    The end of a box that begins and ends in one pixel moves on by one.
    """
    one_pixel = broken = ''
    for low, high in (('xmin', 'xmax'), ('ymin', 'ymax')):
        first, last = _text(obj, f'bndbox/{low}'), _text(obj, f'bndbox/{high}')
        if float(last) < float(first):
            broken = f'has {high} {last}, less than {low} {first}'
        if int(float(last)) == int(float(first)):  # as mmdet rounds
            one_pixel = f'begins and ends in one pixel, {low} {first} to {high} {last}'
            for part in obj.iterfind(f'bndbox/{high}'):
                part.text = str(int(float(last)) + 1)
    return one_pixel, broken


def _text(obj: ET.Element, path: str) -> str:
    """What stands in a part of an object.

    Raises:
        AttributeError: If there is nothing, as mmdet raises where it finds no such part.
    """
    text = obj.findtext(path)
    if not text:
        raise AttributeError(f'<{obj.tag}> has no {path}')
    return text


def _outside(box: list[int], width: int, height: int) -> str:
    x1, y1, x2, y2 = box
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        return f'{box} (x1, y1, x2, y2 from 0) lies outside the image of {width}x{height}'
    return ''
