"""Split lists: text files with one image id a line."""

import os.path as osp

from mmengine.fileio import list_from_file

__all__ = ['HOW_TO_GET_VOC', 'config_key', 'read_split']

HOW_TO_GET_VOC = (
    'PASCAL VOC itself comes with `tools/misc/download_dataset.py --dataset-name voc2007 --save-dir data --unzip` '
    '(and voc2012) of mmdetection, or from http://host.robots.ox.ac.uk/pascal/VOC/'
)


def config_key(test_mode: bool) -> str:
    """Where a config describes the data set, for errors.

    Args:
        test_mode: The data set's; mmseg's own configs do not set it for validation, mmdet's and ours do.
    """
    return 'val_dataloader.dataset (or test_dataloader.dataset)' if test_mode else 'train_dataloader.dataset'


def read_split(ann_file: str, data_root: str | None, fix: str, backend_args: dict | None = None) -> list[str]:
    """Read the image ids of a split list; blank lines are none.

    Args:
        ann_file: The list, joined with ``data_root``.
        data_root: The data set's folder, which the error names if it is not there.
        fix: What the user can do, the end of the errors.
        backend_args: Of mmengine's file backend.

    Raises:
        FileNotFoundError: If there is no such list.
        ValueError: If it is empty.
    """
    try:
        lines = list_from_file(ann_file, backend_args=backend_args)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        reason = ''
        if data_root and not osp.isdir(data_root):
            reason = f': data_root={data_root!r} ({osp.abspath(data_root)}) is not a folder'
        raise FileNotFoundError(f'the split list {ann_file!r} does not exist{reason}. {fix}') from None
    img_ids = [line.strip() for line in lines if line.strip()]
    if not img_ids:
        raise ValueError(f'the split list {ann_file!r} is empty. {fix}')
    return img_ids
