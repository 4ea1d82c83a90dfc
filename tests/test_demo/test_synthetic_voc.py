import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
from mmdet.datasets import VOCDataset

from ovkd_mm.demo.synthetic_voc import CLASSES, MIN_VISIBLE, draw_scene, make_synthetic_voc

FOLDERS = ('JPEGImages', 'Annotations', 'ImageSets/Main')


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    return make_synthetic_voc(tmp_path_factory.mktemp('VOCdevkit') / 'VOCshapes', train=30, val=10, seed=3)


def contents(root: Path) -> dict[str, bytes]:
    return {file.relative_to(root).as_posix(): file.read_bytes() for name in FOLDERS for file in root.glob(f'{name}/*')}


def boxes(root: Path, index: int) -> list[tuple[str, list[int]]]:
    """Class and corners as VOC writes them: from one, the last row and column included."""
    things = ET.parse(root / 'Annotations' / f'{index:06d}.xml').iter('object')
    return [
        (thing.findtext('name'), [int(thing.findtext(f'bndbox/{key}')) for key in ('xmin', 'ymin', 'xmax', 'ymax')])
        for thing in things
    ]


def test_the_same_seed_gives_the_same_files_and_another_seed_others(root, tmp_path):
    again = make_synthetic_voc(tmp_path / 'again', train=30, val=10, seed=3)
    other = make_synthetic_voc(tmp_path / 'other', train=30, val=10, seed=4)
    assert contents(again) == contents(root)
    for name, data in contents(other).items():
        assert name.startswith('ImageSets') or data != contents(root)[name]


def test_an_image_does_not_depend_on_how_many_others_there_are(root, tmp_path):
    few = make_synthetic_voc(tmp_path / 'few', train=2, val=1, seed=3)
    for name, data in contents(few).items():
        assert name.startswith('ImageSets') or data == contents(root)[name]


def test_the_splits_part_the_images(root):
    train, val, both = (
        (root / f'ImageSets/Main/{split}.txt').read_text().split() for split in ('train', 'val', 'trainval')
    )
    assert (len(train), len(val)) == (30, 10)
    assert train + val == both == sorted(file.stem for file in (root / 'JPEGImages').iterdir())


def test_mmdets_dataset_reads_what_was_drawn(root):
    dataset = VOCDataset(
        data_root=str(root),
        ann_file='ImageSets/Main/train.txt',
        data_prefix=dict(sub_data_root=''),
        metainfo=dict(classes=CLASSES),
        test_mode=True,
    )
    assert len(dataset) == 30
    seen = set()
    for index in range(30):
        info = dataset.get_data_info(index)
        image, names, _ = draw_scene(3, index)
        read = mmcv.imread(info['img_path'])
        assert read.shape == image.shape == (info['height'], info['width'], 3)
        assert np.abs(read.astype(int) - image).mean() < 6  # JPEG
        assert [CLASSES[instance['bbox_label']] for instance in info['instances']] == names
        assert not any(instance['ignore_flag'] for instance in info['instances'])
        seen.update(names)
    assert seen == set(CLASSES)


def test_boxes_lie_in_the_image_and_touch_the_visible_object_on_all_sides(root):
    for index in range(40):
        image, names, visible = draw_scene(3, index)
        height, width, _ = image.shape
        annotated = boxes(root, index)
        assert [name for name, _ in annotated] == names
        for (_, (x1, y1, x2, y2)), mask in zip(annotated, visible, strict=True):
            assert 1 <= x1 < x2 <= width
            assert 1 <= y1 < y2 <= height
            inside = mask[y1 - 1 : y2, x1 - 1 : x2]
            assert inside.sum() == mask.sum()
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


def test_the_visible_part_is_where_the_object_stands_out_in_the_image():
    standing_out = []
    for index in range(40):
        image, _, visible = draw_scene(3, index)
        for mask in visible:
            around = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9))).astype(bool)
            around &= ~cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))).astype(bool)
            inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3))).astype(bool)
            standing_out.append(np.abs(image[inner].mean(axis=0) - image[around].mean(axis=0)).max())
    assert np.median(standing_out) > 48
    assert np.mean(np.array(standing_out) > 24) > 0.9


def test_objects_cover_each_other_in_part_and_never_share_a_pixel():
    overlapping = 0
    for index in range(40):
        _, _, visible = draw_scene(3, index)
        assert sum(mask.astype(int) for mask in visible).max() == 1
        extents = [np.argwhere(mask) for mask in visible]
        corners = [(points.min(axis=0), points.max(axis=0)) for points in extents]
        overlapping += sum(
            bool(np.all(a[0] <= b[1]) and np.all(b[0] <= a[1]))
            for first, a in enumerate(corners)
            for b in corners[:first]
        )
    assert 0 < MIN_VISIBLE < 1
    assert overlapping > 5


def test_sizes_range_from_small_to_large():
    shares = [mask.sum() / mask.size for index in range(60) for mask in draw_scene(3, index)[2]]
    assert min(shares) < 0.03
    assert max(shares) > 0.15


def test_what_is_there_is_used_again_and_not_written_anew(root):
    before = {file: file.stat().st_mtime_ns for file in root.rglob('*')}
    assert make_synthetic_voc(root, train=30, val=10, seed=3) == root
    assert {file: file.stat().st_mtime_ns for file in root.rglob('*')} == before


@pytest.mark.parametrize('change', [dict(seed=4), dict(train=29), dict(val=11)])
def test_a_folder_of_another_recipe_is_refused_and_left_alone(root, change):
    before = contents(root)
    with pytest.raises(ValueError, match=r'VOCshapes holds .*name another folder'):
        make_synthetic_voc(root, **(dict(train=30, val=10, seed=3) | change))
    assert contents(root) == before


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / 'notes.txt').write_text('mine')
    with pytest.raises(ValueError, match='something else'):
        make_synthetic_voc(tmp_path, train=2, val=1)
    assert [file.name for file in tmp_path.iterdir()] == ['notes.txt']


def test_an_interrupted_call_leaves_nothing_behind(tmp_path, monkeypatch):
    written = []

    def stop_at_the_third(image, path, *args):
        written.append(path)
        if len(written) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(mmcv, 'imwrite', stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        make_synthetic_voc(tmp_path / 'VOCdevkit/VOCshapes', train=4, val=1)
    assert list((tmp_path / 'VOCdevkit').iterdir()) == []


def test_the_global_random_state_is_left_as_found():
    before = np.random.get_state()[1].copy()
    draw_scene(0, 0)
    assert np.array_equal(np.random.get_state()[1], before)
