import re

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from ovkd_mm.datasets import LoadMask

IMAGE = dict(type='LoadImageFromFile')
LABEL_MAP = {0: 255, 1: 1, 2: 0}


@pytest.fixture(autouse=True)
def _mmseg():
    init_default_scope('mmseg')


@pytest.fixture
def results(tmp_path):
    """What a data set of three classes gives for one image, and room for its mask."""
    cv2.imwrite(str(tmp_path / 'image.jpg'), np.full((20, 30, 3), 99, np.uint8))
    return dict(
        img_path=str(tmp_path / 'image.jpg'),
        seg_map_path=str(tmp_path / 'mask.png'),
        label_map=None,
        reduce_zero_label=False,
        seg_fields=[],
        num_classes=3,
        ignore_index=255,
    )


def save(results, mask) -> str:
    Image.fromarray(np.asarray(mask)).save(results['seg_map_path'])
    return results['seg_map_path']


def stripes(*values: int, dtype=np.uint8) -> np.ndarray:
    """A mask of 20x30 whose columns take the values in turn."""
    return np.resize(np.array(values, dtype), (20, 30))


def load(results, *before, **options) -> np.ndarray:
    return Compose([IMAGE, *before, dict(type='ovkd_mm.LoadMask', **options)])(dict(results))['gt_seg_map']


@pytest.mark.parametrize('label_map', [None, LABEL_MAP])
@pytest.mark.parametrize('reduce_zero_label', [False, True])
def test_a_good_mask_loads_exactly_as_with_mmsegs_transform(results, label_map, reduce_zero_label):
    results.update(label_map=label_map, reduce_zero_label=reduce_zero_label)
    save(results, stripes(*range(3 + reduce_zero_label), 255))
    expected = LoadAnnotations()({**results, 'seg_fields': []})
    ours = LoadMask()({**results, 'seg_fields': []})
    assert np.array_equal(ours.pop('gt_seg_map'), expected.pop('gt_seg_map'))
    assert ours == expected


def test_a_mask_of_two_levels_is_one_of_two_classes(results):
    save(results, stripes(0, 1).astype(bool))
    assert np.unique(load(results)).tolist() == [0, 1]


def test_a_missing_or_broken_mask_is_named(results):
    path = results['seg_map_path']
    with pytest.raises(FileNotFoundError, match=re.escape(f'the mask {path!r} does not exist')):
        load(results)
    save(results, np.random.randint(0, 3, (20, 30), np.uint8))
    with open(path, 'rb') as file:
        content = file.read()
    for broken in (b'', content[:30], content[: len(content) // 2], b'<html>404</html>'):
        with open(path, 'wb') as file:
            file.write(broken)
        for backend in ('pillow', 'cv2'):
            if backend == 'cv2' and broken == content[: len(content) // 2]:
                continue  # OpenCV fills it up
            with pytest.raises(ValueError, match=re.escape(f'the mask {path!r} cannot be decoded')):
                load(results, imdecode_backend=backend)


@pytest.mark.parametrize('shape', [(20, 30, 3), (20, 30, 4), (20, 30, 2)])
def test_a_color_picture_is_no_mask(results, shape):
    path = save(results, np.zeros(shape, np.uint8))
    with pytest.raises(
        ValueError, match=re.escape(f'{path!r} is not a map of class indices') + '.*gray or palette PNG'
    ):
        load(results)


def test_fractions_are_no_classes(results):
    results['seg_map_path'] = results['seg_map_path'].replace('.png', '.tiff')
    save(results, stripes(0, 1, dtype=np.float32))
    with pytest.raises(ValueError, match=r'is not a map of class indices.*float32'):
        load(results)


def test_a_palette_read_as_colors_names_the_backend_that_reads_indices(results):
    picture = Image.fromarray(stripes(0, 1))
    picture.putpalette([7, 8, 9, 200, 100, 0])
    picture.save(results['seg_map_path'])
    assert np.unique(load(results)).tolist() == [0, 1]
    with pytest.raises(ValueError, match="imdecode_backend='pillow'"):
        load(results, imdecode_backend='cv2')


def test_a_mask_of_another_size_is_named_with_both_sizes(results):
    path = save(results, np.zeros((20, 29), np.uint8))
    with pytest.raises(ValueError, match=rf'{path}.* is 29x20, but its image .*image\.jpg.* is 30x20') as caught:
        load(results)
    assert 'Exif' not in str(caught.value)


def test_the_size_is_the_images_own_where_it_has_been_resized_before(results):
    save(results, stripes(0, 1))
    resize = dict(type='Resize', scale=(60, 40))
    assert load(results, resize).shape == (20, 30)
    save(results, np.zeros((40, 60), np.uint8))
    with pytest.raises(ValueError, match=r'is 60x40, but its image .* is 30x20'):
        load(results, resize)


def test_an_image_that_its_exif_data_turn_is_told_from_a_wrong_mask(results):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: a quarter turn
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(results['img_path'], exif=exif)
    save(results, stripes(0, 1))
    with pytest.raises(ValueError, match=r"is 30x20, but .* is 20x30 .*color_type='color_ignore_orientation'"):
        load(results)
    pipeline = Compose([{**IMAGE, 'color_type': 'color_ignore_orientation'}, LoadMask()])
    assert pipeline(results)['gt_seg_map'].shape == (20, 30)


def test_values_that_are_no_class_are_named_and_counted(results):
    mask = stripes(0, 1, 2, 255)
    mask[0, :3] = 200
    mask[5, 5] = 3
    path = save(results, mask)
    with pytest.raises(ValueError, match=re.escape(f'{path!r} holds 3 (1 pixel), 200 (3 pixels):')) as caught:
        load(results)
    assert 'The 3 classes are 0 to 2; 255 is void' in str(caught.value)
    assert 'metainfo.classes' in str(caught.value)


def test_of_many_wrong_values_some_are_shown(results):
    save(results, np.arange(600).astype(np.uint8).reshape(20, 30))
    with pytest.raises(ValueError, match=r'holds 3 \(3 pixels\), .*7 \(3 pixels\) and 247 more:'):
        load(results)


def test_classes_that_count_from_one_suggest_reduce_zero_label(results):
    save(results, stripes(1, 2, 3))
    with pytest.raises(ValueError, match='count the classes from 1, set reduce_zero_label=True'):
        load(results)
    for values in ((0, 1, 2, 3), (1, 2, 4)):
        save(results, stripes(*values))
        with pytest.raises(ValueError, match=r'lacks a class') as caught:
            load(results)
        assert 'reduce_zero_label' not in str(caught.value)


def test_with_reduce_zero_label_classes_count_from_one(results):
    results['reduce_zero_label'] = True
    save(results, stripes(0, 1, 3, 255))
    assert np.unique(load(results)).tolist() == [0, 2, 255]
    save(results, stripes(0, 4))
    with pytest.raises(ValueError, match=r'holds 4 \(300 pixels\).*classes are 1 to 3; 0 and 255 are void'):
        load(results)


def test_with_a_label_map_the_values_are_the_old_classes(results):
    results.update(label_map=LABEL_MAP, num_classes=2)
    save(results, stripes(0, 1, 2))
    assert load(results)[0, :3].tolist() == [255, 1, 0]
    save(results, stripes(0, 3))
    with pytest.raises(ValueError, match=r'holds 3 \(300 pixels\).*The 3 classes are 0 to 2'):
        load(results)


def test_values_beyond_eight_bits_do_not_wrap_round(results):
    path = save(results, stripes(0, 256, dtype=np.uint16))
    with pytest.raises(ValueError, match=re.escape(f'{path!r} holds 256 (300 pixels)')):
        load(results)


def test_with_another_data_set_all_is_checked_but_the_number_of_classes(results, tmp_path):
    path = save(results, stripes(0, 77))
    dataset = BaseSegDataset(
        data_prefix=dict(img_path=str(tmp_path), seg_map_path=str(tmp_path)), pipeline=[IMAGE, LoadMask()]
    )
    (tmp_path / 'mask.png').rename(tmp_path / 'image.png')
    assert np.unique(dataset[0]['gt_seg_map']).tolist() == [0, 77]
    results['seg_map_path'] = path.replace('mask', 'image')
    for mask, reason in (
        (stripes(0, 300, dtype=np.uint16), r'holds 300 .*Values go from 0 to 255'),
        (np.zeros((30, 30), np.uint8), 'is 30x30'),
    ):
        save(results, mask)
        with pytest.raises(ValueError, match=reason):
            dataset[0]


def test_reduce_zero_label_must_be_the_data_sets(results):
    save(results, stripes(0, 1))
    with pytest.warns(UserWarning, match='deprecated'), pytest.raises(ValueError, match='leave it out here'):
        load(results, reduce_zero_label=True)


def test_an_image_without_a_mask_needs_one_in_a_data_set_but_not_at_inference(results):
    with pytest.raises(ValueError, match=r'image\.jpg.* has no mask: set data_prefix\.seg_map_path'):
        load({key: value for key, value in results.items() if key != 'seg_map_path'})
    pipeline = Compose([IMAGE, dict(type='ovkd_mm.LoadMask')])
    assert 'gt_seg_map' not in pipeline(dict(img_path=results['img_path']))


@pytest.mark.parametrize(
    ('options', 'values', 'loaded'),
    [
        (dict(), (0, 2, 3, 255), (0, 2, 255, 255)),  # as CamVid's void, which follows the classes
        (dict(), (0, 1, 2), (0, 1, 2)),
        (dict(reduce_zero_label=True, ignore_index=4), (0, 1, 3, 4, 255), (255, 0, 2, 255, 255)),
        (dict(reduce_zero_label=True, ignore_index=0), (0, 1, 3, 255), (255, 0, 2, 255)),
        (dict(reduce_zero_label=True, ignore_index=1), (0, 1, 3, 255), (255, 255, 2, 255)),  # counted as in the file
        (dict(ignore_index=0), (0, 1, 2), (255, 1, 2)),  # a class that is not to be learned
        (dict(ignore_index=254), (0, 254, 255), (0, 255, 255)),
        (dict(label_map=LABEL_MAP, num_classes=2), (0, 1, 2, 3), (255, 1, 0, 255)),
        (dict(label_map=LABEL_MAP, num_classes=2, ignore_index=2), (0, 1, 2), (255, 1, 255)),
    ],
)
def test_another_value_may_be_void(results, options, values, loaded):
    results.update(ignore_index=3)
    results.update(options)
    save(results, stripes(*values))
    assert load(results)[0, : len(values)].tolist() == list(loaded)


def test_void_may_be_beyond_eight_bits(results):
    results['ignore_index'] = 65535
    save(results, stripes(0, 2, 65535, dtype=np.uint16))
    assert load(results)[0, :3].tolist() == [0, 2, 255]


def test_beside_another_void_value_the_rest_are_still_no_classes(results):
    results['ignore_index'] = 4
    save(results, stripes(0, 3, 4))
    with pytest.raises(ValueError, match=r'holds 3 \(200 pixels\): .*The 3 classes are 0 to 2; 4 and 255 are void'):
        load(results)
    results.update(reduce_zero_label=True, ignore_index=5)
    save(results, stripes(0, 4, 5))
    with pytest.raises(ValueError, match=r'holds 4 .*the 3 classes are 1 to 3; 0, 5 and 255 are void'):
        load(results)


def test_one_value_that_is_no_class_suggests_that_it_is_void(results):
    save(results, stripes(0, 1, 2, 3))
    with pytest.raises(ValueError, match='If 3 is void, set ignore_index=3 of the data set'):
        load(results)
    save(results, stripes(0, 1, 2, 3, 4))
    with pytest.raises(ValueError, match='lacks a class') as caught:
        load(results)
    assert 'ignore_index' not in str(caught.value)


def test_a_negative_value_is_no_class(results):
    results['seg_map_path'] = results['seg_map_path'].replace('.png', '.tiff')
    save(results, stripes(0, -1, dtype=np.int32))
    with pytest.raises(ValueError, match=r'holds -1 \(300 pixels\): no class'):
        load(results)


def test_five_wrong_values_are_all_shown(results):
    save(results, stripes(*range(3, 8)))
    with pytest.raises(ValueError, match=r'holds 3 \(120 pixels\), .*7 \(120 pixels\): no class'):
        load(results)
