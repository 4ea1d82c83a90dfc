"""Split lists: text files with one image id a line."""

import os.path as osp
from collections import Counter
from collections.abc import Sequence

from mmengine.fileio import get

__all__ = ['HOW_TO_GET_VOC', 'as_list', 'check_classes', 'check_disjoint', 'config_key', 'read_split', 'what_ids_are']

HOW_TO_GET_VOC = (
    'PASCAL VOC itself comes with `tools/misc/download_dataset.py --dataset-name voc2007 --save-dir data --unzip` '
    '(and voc2012) of mmdetection, or from http://host.robots.ox.ac.uk/pascal/VOC/'
)


def as_list(key: str, value: str | Sequence[str]) -> list[str]:
    """The value of a setting that may be one path or a list of them, as a list.

    Raises:
        TypeError: If it is neither a string nor a list of them.
        ValueError: If it is an empty list.
    """
    several = [value] if isinstance(value, str) else value
    if not isinstance(several, Sequence) or not all(isinstance(one, str) for one in several):
        raise TypeError(f'{key} must be a path or a list of paths, got {value!r}')
    if not several:
        raise ValueError(f'{key} is empty: name one or several')
    return list(several)


def check_classes(classes: object) -> None:
    """Refuse a single string as the class names: mmengine would take each of its letters for a name.

    Raises:
        ValueError: If it is one.
    """
    if isinstance(classes, str):
        raise ValueError(f'metainfo.classes must be a list of names, but it is the string {classes!r}')


def config_key(test_mode: bool) -> str:
    """Where a config describes the data set, for errors.

    Args:
        test_mode: The data set's; mmseg's own configs do not set it for validation, mmdet's and ours do.
    """
    return 'val_dataloader.dataset (or test_dataloader.dataset)' if test_mode else 'train_dataloader.dataset'


def read_split(ann_file: str, data_root: str | None, fix: str, backend_args: dict | None = None) -> list[str]:
    """Read the image ids of a split list; blank lines and space around an id are ignored.

    Args:
        ann_file: The list, joined with ``data_root``.
        data_root: The data set's folder, which the error names if it is not there.
        fix: What the user can do, the end of the errors.
        backend_args: Of mmengine's file backend.

    Raises:
        FileNotFoundError: If there is no such list.
        ValueError: If it is not UTF-8 text or empty, or an id leads out of the data set's folder or is there twice.
    """
    try:
        content = get(ann_file, backend_args=backend_args)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        reason = ''
        if data_root and not osp.isdir(data_root):
            reason = f': data_root={data_root!r} ({osp.abspath(data_root)}) is not a folder'
        raise FileNotFoundError(f'the split list {ann_file!r} does not exist{reason}. {fix}') from None
    img_ids = [line.strip() for line in _decode(content, ann_file).splitlines() if line.strip()]
    if not img_ids:
        raise ValueError(f'the split list {ann_file!r} is empty. {fix}')
    # A list may come from a stranger: it must not bring in files from outside this data set.
    outside = [img_id for img_id in img_ids if osp.isabs(img_id) or '..' in img_id.replace('\\', '/').split('/')]
    if outside:
        raise ValueError(
            f"the split list {ann_file!r} names {outside[0]!r}, which leads out of the data set's folder. Put the "
            'files there (links will do) and name them by ids'
        )
    img_id, count = Counter(img_ids).most_common(1)[0]
    if count > 1:
        raise ValueError(
            f'the split list {ann_file!r} names {img_id!r} {count} times. Leave one; to see images more often, use '
            "type='RepeatDataset'"
        )
    return img_ids


def _decode(content: bytes, ann_file: str) -> str:
    try:
        text, wrong = content.decode('utf-8-sig'), content.find(b'\0')  # which UTF-16 has in every other place
    except UnicodeDecodeError as error:
        text, wrong = '', error.start
    if wrong >= 0:
        line = content.count(b'\n', 0, wrong) + 1
        raise ValueError(f'the split list {ann_file!r} is not UTF-8 text (line {line}). Save it as UTF-8')
    return text


def what_ids_are(img_id: str) -> str:
    """What a list is to hold, for the error about an id that has no file.

    Args:
        img_id: The id.
    """
    rule = 'A list holds one image id a line, without folder and suffix'
    if not any(map(str.isspace, img_id)):
        return rule
    return (
        f"{rule}; {img_id!r} has a space in it. If the line has columns, as VOC's lists of one class have, keep the "
        'first column alone'
    )


def check_disjoint(img_ids: list[str], ann_file: str, split_of: dict[str, str], fix: str) -> None:
    """Check that no image of a split list is in an earlier one.

    Args:
        img_ids: The list's.
        ann_file: The list.
        split_of: The list of each image so far; the images of this list are added.
        fix: What the user can do, the end of the error.

    Raises:
        ValueError: If one is.
    """
    twice = [img_id for img_id in img_ids if img_id in split_of]
    if twice:
        raise ValueError(
            f'{len(twice)} of the {len(img_ids)} images of {ann_file!r} are in {split_of[twice[0]]!r} too, the first '
            f'is {twice[0]!r}. {fix}'
        )
    split_of.update(dict.fromkeys(img_ids, ann_file))
