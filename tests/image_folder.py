"""Folders of images for classifiers, and a network small enough to train on them in a test."""

from pathlib import Path

import cv2
import numpy as np

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def write_images(folder: Path, classes: tuple[str, ...], count: int, test: str = 'test', size: int = 32) -> Path:
    """``train/<class>/*.png`` and the like for ``test``, whose brightness tells the class."""
    rng = np.random.default_rng(0)
    for split in ('train', test):
        for index, name in enumerate(classes):
            (folder / split / name).mkdir(parents=True)
            for image in range(count):
                pixels = rng.integers(0, 60, (size, size, 3)) + 190 * index // max(len(classes) - 1, 1)
                cv2.imwrite(str(folder / split / name / f'{image}.png'), pixels.astype(np.uint8))
    return folder


def loader_options(folder: Path, batch_size: int) -> dict:
    """What points a config to such a folder and loads it in the main process."""
    options = {'train_dataloader.batch_size': batch_size}
    for loader in LOADERS:
        options |= {
            f'{loader}.dataset.data_root': str(folder),
            f'{loader}.num_workers': 0,
            f'{loader}.persistent_workers': False,
        }
    return options


def small_wrn(model: str = 'model', classes: int = 2) -> dict:
    """What makes the WideResNet at ``model`` a WRN10-1."""
    return {
        f'{model}.backbone.depth': 10,
        f'{model}.backbone.width': 1,
        f'{model}.head.in_channels': 64,
        f'{model}.head.num_classes': classes,
    }
