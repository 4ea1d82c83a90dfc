"""A small seeded detection data set in Pascal VOC format: six classes of shapes, with clutter and occlusion."""

import json
import math
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import mmcv
import numpy as np
from mmengine.utils import track_progress_rich

RED, GREEN, BLUE = (50, 60, 210), (60, 190, 70), (215, 110, 50)  # in OpenCV's order
# A class has its shape, its texture and its tint. Each texture and each tint belongs to two classes.
LOOKS = dict(
    disc=('stripes', RED),
    ring=('plain', RED),
    square=('checks', GREEN),
    triangle=('plain', GREEN),
    star=('checks', BLUE),
    cross=('stripes', BLUE),
)
CLASSES = tuple(LOOKS)
SIZES = ((180, 240), (240, 180), (208, 208))  # heights and widths, in pixels
MIN_RADIUS, MAX_RADIUS = 22, 80  # of the circle around a shape, in pixels
MIN_VISIBLE = 0.55  # the share of an object's pixels that occlusion must leave
RECIPE_VERSION = 1  # raise it whenever a seed gives other pictures than before
MIN_CONTRAST = 40  # gray levels, between an object's mean color and what it covers
OVERSAMPLING = 4  # shapes are drawn this much larger, then averaged down


def make_synthetic_voc(root: str | Path, train: int, val: int, seed: int = 0) -> Path:
    """Write the data set, or find it already there.

    The folder has VOC's layout: ``JPEGImages``, ``Annotations`` and ``ImageSets/Main/{train,val,trainval}.txt``. It
    appears whole or not at all: an interrupted call leaves nothing behind.

    Args:
        root: The folder to create, the one that will hold ``JPEGImages``.
        train: Number of training images.
        val: Number of validation images.
        seed: Fixes every box and every pixel before JPEG compression.

    Returns:
        The folder.

    Raises:
        ValueError: If ``root`` exists and is not the data set of this very recipe.
    """
    root = Path(root)
    recipe = dict(version=RECIPE_VERSION, train=train, val=val, seed=seed)
    if root.exists():
        _check_recipe(root, recipe)
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f'.{root.name}-') as scratch:
        folder = Path(scratch) / root.name
        for name in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
            (folder / name).mkdir(parents=True)
        names = [f'{index:06d}' for index in range(train + val)]
        tasks = [(folder, name, seed, index) for index, name in enumerate(names)]
        track_progress_rich(_write_scene, tasks, description='drawing images')
        for split, members in dict(train=names[:train], val=names[train:], trainval=names).items():
            (folder / 'ImageSets/Main' / f'{split}.txt').write_text('\n'.join(members) + '\n')
        (folder / 'recipe.json').write_text(json.dumps(recipe))
        folder.rename(root)
    return root


def draw_scene(seed: int, index: int) -> tuple[np.ndarray, list[str], list[np.ndarray]]:
    """Draw one image; the same seed and index give the same arrays.

    Later objects cover earlier ones; unlabeled blobs lie below them all.

    Args:
        seed: The data set's seed.
        index: The image's number in the data set.

    Returns:
        The image ``[H, W, 3]`` (uint8, BGR), the objects' class names, and the visible part of each: ``[H, W]``, bool.
    """
    rng = np.random.default_rng([seed, index])
    height, width = SIZES[rng.integers(len(SIZES))]
    background = _texture(rng, rng.choice(['plain', 'clouds']), _gray(rng), height, width)
    image = background.copy()
    names: list[str] = []
    visible: list[np.ndarray] = []
    areas: list[int] = []
    for name in ['blob'] * rng.integers(0, 3) + list(rng.choice(CLASSES, rng.integers(1, 4))):
        for _ in range(10):  # a crowded image may have no room left: then the object is dropped
            coverage = _coverage(rng, name, height, width)
            mask = coverage >= 128
            remaining = [old & ~mask for old in visible]
            if all(left.sum() >= MIN_VISIBLE * area for left, area in zip(remaining, areas, strict=True)):
                _paint(rng, *(LOOKS.get(name) or ('clouds', _gray(rng))), image, background, coverage)
                visible = remaining
                if name != 'blob':
                    names.append(str(name))
                    visible.append(mask)
                    areas.append(mask.sum())
                break
    noise = rng.integers(-8, 9, (height, width, 1))
    return np.clip(image + noise, 0, 255).astype(np.uint8), names, visible


def _check_recipe(root: Path, recipe: dict) -> None:
    try:
        found = json.loads((root / 'recipe.json').read_text())
    except (OSError, ValueError):
        found = 'something else'
    if found != recipe:
        raise ValueError(f'{root} holds {found}, not the synthetic data set {recipe}; name another folder or remove it')


def _write_scene(root: Path, name: str, seed: int, index: int) -> None:
    image, names, visible = draw_scene(seed, index)
    mmcv.imwrite(image, str(root / 'JPEGImages' / f'{name}.jpg'), [cv2.IMWRITE_JPEG_QUALITY, 95])
    annotation = ET.Element('annotation')
    ET.SubElement(annotation, 'filename').text = f'{name}.jpg'
    size = ET.SubElement(annotation, 'size')
    for key, value in zip(('height', 'width', 'depth'), image.shape, strict=True):
        ET.SubElement(size, key).text = str(value)
    for label, mask in zip(names, visible, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        thing = ET.SubElement(annotation, 'object')
        ET.SubElement(thing, 'name').text = label
        ET.SubElement(thing, 'difficult').text = '0'
        box = ET.SubElement(thing, 'bndbox')
        # VOC counts pixels from one and its box includes the last row and column.
        corners = dict(xmin=columns[0], ymin=rows[0], xmax=columns[-1], ymax=rows[-1])
        for key, value in corners.items():
            ET.SubElement(box, key).text = str(value + 1)
    ET.indent(annotation)
    ET.ElementTree(annotation).write(root / 'Annotations' / f'{name}.xml')


def _outline(rng: np.random.Generator, name: str) -> list[np.ndarray]:
    """The contours of a shape within the unit circle; a second contour is a hole."""
    if name == 'blob':
        return [_star(rng.uniform(0.35, 1.0, 9))]
    if name == 'ring':
        return [_star(np.full(48, 1.0)), _star(np.full(48, rng.uniform(0.45, 0.65)))]
    if name == 'cross':
        arm = rng.uniform(0.22, 0.34)
        quarter = np.array([(arm, arm), (arm, 0.94), (-arm, 0.94)])
        turn = np.array([(0, 1), (-1, 0)])
        return [np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])]
    radii = dict(disc=[1.0] * 48, square=[1.0] * 4, triangle=[1.0] * 3, star=[1.0, rng.uniform(0.4, 0.5)] * 5)
    return [_star(np.array(radii[name]))]


def _star(radii: np.ndarray) -> np.ndarray:
    angles = np.arange(len(radii)) * 2 * math.pi / len(radii)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]


def _coverage(rng: np.random.Generator, name: str, height: int, width: int) -> np.ndarray:
    """Place a shape at random, wholly inside the image: 0 to 255, how much of each pixel it covers."""
    radius = round(math.exp(rng.uniform(math.log(MIN_RADIUS), math.log(MAX_RADIUS))))
    stretch = rng.uniform(0.65, 1.0)
    angle = rng.uniform(0, 2 * math.pi)
    center = rng.integers(radius, width - radius + 1), rng.integers(radius, height - radius + 1)
    turn = np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))])
    contours = [(outline * (1, stretch) @ turn * radius + center) * OVERSAMPLING for outline in _outline(rng, name)]
    canvas = np.zeros((height * OVERSAMPLING, width * OVERSAMPLING), np.uint8)
    cv2.fillPoly(canvas, [np.rint(contour).astype(np.int32) for contour in contours], 255)
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)


def _gray(rng: np.random.Generator) -> tuple[int, int, int]:
    return (int(rng.integers(50, 200)),) * 3


def _paint(
    rng: np.random.Generator, kind: str, tint: tuple, image: np.ndarray, background: np.ndarray, coverage: np.ndarray
) -> None:
    """Fill a shape, in place, with a texture that if possible stands out from the background and what it covers."""
    rows, columns = np.flatnonzero(coverage.any(axis=1)), np.flatnonzero(coverage.any(axis=0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    alpha = coverage[window][..., None].astype(np.int32)
    for _ in range(10):
        texture = _texture(rng, kind, tint, *alpha.shape[:2])
        differences = [
            ((texture - below[window]) * alpha).sum(axis=(0, 1)) / alpha.sum() for below in (image, background)
        ]
        if min(np.abs(difference).max() for difference in differences) >= MIN_CONTRAST:
            break
    image[window] = (image[window] * (255 - alpha) + texture * alpha + 127) // 255


def _texture(rng: np.random.Generator, kind: str, tint: tuple, height: int, width: int) -> np.ndarray:
    """Two colors near a tint, mixed by a gradient, stripes, checks or clouds: ``[H, W, 3]``, int32 from 0 to 255."""
    y, x = np.mgrid[:height, :width]
    slope = rng.integers(-4, 5, 2)
    period = int(rng.integers(4, 12))
    if kind == 'plain':
        ramp = slope[0] * x + slope[1] * y
        mix = (ramp - ramp.min()) * 128 // max(np.ptp(ramp), 1)
    elif kind == 'stripes':
        mix = (slope[0] * x + slope[1] * y) // (2 * period) % 2 * 255
    elif kind == 'checks':
        mix = (x // period + y // period) % 2 * 255
    else:
        grid = rng.integers(0, 160, (height // period // 3 + 2, width // period // 3 + 2)).astype(np.uint8)
        mix = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR_EXACT).astype(np.int32)
    first, second = np.clip(tint + rng.integers(-40, 41, (2, 3)), 0, 255)
    second = second * rng.integers(3, 7) // 10
    return (first + (second - first) * mix[..., None] // 255).astype(np.int32)
