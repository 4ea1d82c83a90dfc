"""A tiny folder in VOC's layout, written by hand so that the tests know every box in it."""

from pathlib import Path

import cv2
import numpy as np
from mmengine.fileio import LocalBackend, register_backend
from PIL import Image

OBJECT = (
    '<object><name>{}</name><difficult>0</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>'
    '<ymax>{}</ymax></bndbox></object>'
)


def write_voc(
    root: Path, images: dict[str, list[tuple]], split: str = 'train', size: tuple[int, int] = (60, 80)
) -> Path:
    """Write ``{image id: [(class, xmin, ymin, xmax, ymax), ...]}`` with boxes from 1 and noise for images."""
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    height, width = size
    for image_id, objects in images.items():
        pixels = np.random.randint(0, 255, (height, width, 3), dtype=np.uint8)
        cv2.imwrite(str(root / 'JPEGImages' / f'{image_id}.jpg'), pixels)
        xml = f'<annotation><size><width>{width}</width><height>{height}</height><depth>3</depth></size>'
        xml += ''.join(OBJECT.format(*entry) for entry in objects) + '</annotation>'
        (root / 'Annotations' / f'{image_id}.xml').write_text(xml)
    (root / 'ImageSets' / 'Main' / f'{split}.txt').write_text('\n'.join(images) + '\n')
    return root


def write_swelling_png(path: Path, side: int) -> Path:
    """Write a black square whose file is thousands of times smaller than its pixels."""
    Image.new('1', (side, side)).save(path, 'PNG', compress_level=9)
    return path


def write_voc_masks(
    root: Path, masks: dict[str, np.ndarray], split: str = 'train', folder: str = 'SegmentationClass'
) -> Path:
    """Write ``{image id: [H, W] of class indices}`` as palette PNG, with noise of the same size for images."""
    for name in ('JPEGImages', folder, 'ImageSets/Segmentation'):
        (root / name).mkdir(parents=True, exist_ok=True)
    for image_id, mask in masks.items():
        pixels = np.random.randint(0, 255, (*mask.shape, 3), dtype=np.uint8)
        cv2.imwrite(str(root / 'JPEGImages' / f'{image_id}.jpg'), pixels)
        picture = Image.fromarray(mask)
        picture.putpalette(np.random.permutation(768).astype(np.uint8).tobytes())  # colors that are no indices
        picture.save(root / folder / f'{image_id}.png')
    (root / 'ImageSets' / 'Segmentation' / f'{split}.txt').write_text('\n'.join(masks) + '\n')
    return root


class Store(LocalBackend):
    """Keeps what lies under ``/elsewhere``, to which no other way leads."""

    root = ''

    def get(self, filepath):
        return super().get(str(filepath).replace('/elsewhere', self.root))

    def exists(self, filepath):
        return super().exists(str(filepath).replace('/elsewhere', self.root))

    def isdir(self, filepath):
        return super().isdir(str(filepath).replace('/elsewhere', self.root))

    def get_local_path(self, filepath):
        return super().get_local_path(str(filepath).replace('/elsewhere', self.root))


def in_a_store(root: Path, monkeypatch) -> dict:
    """Put a folder into a store as ``/elsewhere``; returns the ``backend_args`` that lead there."""
    register_backend('elsewhere', Store, force=True)
    monkeypatch.setattr(Store, 'root', str(root))
    return dict(backend='elsewhere')
