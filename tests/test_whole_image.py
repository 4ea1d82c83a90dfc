import re

import cv2
import numpy as np
import pytest
from PIL import Image

from ovkd_mm.whole_image import run_pipeline


def decode(info: dict) -> np.ndarray:
    image = cv2.imread(info['img_path'])
    if image is None:
        raise TypeError('not an image')
    return image


def write(path, shape=(40, 30, 3)) -> dict:
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    return dict(img_path=str(path))


@pytest.mark.parametrize('name', ['a.jpg', 'a.png'])
def test_a_whole_image_goes_through_the_pipeline(tmp_path, name):
    assert run_pipeline(decode, write(tmp_path / name)).shape == (40, 30, 3)


def test_one_that_does_not_exist_is_named(tmp_path):
    path = str(tmp_path / 'a.jpg')
    with pytest.raises(FileNotFoundError, match=re.escape(f'the image {path!r} does not exist')):
        run_pipeline(decode, dict(img_path=path))


def test_a_jpeg_that_is_cut_off_is_named_though_opencv_would_fill_it_up(tmp_path):
    info = write(path := tmp_path / 'a.jpg')
    path.write_bytes(path.read_bytes()[:-200])
    assert decode(info).shape == (40, 30, 3)
    with pytest.raises(ValueError, match=re.escape(f'the image {str(path)!r} is cut off')):
        run_pipeline(decode, info)


def test_what_follows_the_end_of_a_jpeg_does_not_cut_it_off_nor_end_one_that_is_cut_off(tmp_path):
    info = write(path := tmp_path / 'a.jpg')
    whole = path.read_bytes()
    path.write_bytes(whole + b'film \xff\xda film')
    assert run_pipeline(decode, info).shape == (40, 30, 3)
    preview = b'\xff\xe1' + (len(whole) + 2).to_bytes(2, 'big') + whole
    path.write_bytes(whole[:2] + preview + whole[2:])
    assert run_pipeline(decode, info).shape == (40, 30, 3)
    path.write_bytes(whole[:2] + preview + whole[2:-200])
    with pytest.raises(ValueError, match='is cut off'):
        run_pipeline(decode, info)


@pytest.mark.parametrize('flag', [cv2.IMWRITE_JPEG_PROGRESSIVE, cv2.IMWRITE_JPEG_RST_INTERVAL])
def test_a_jpeg_of_several_scans_or_with_restarts_is_whole_until_its_end(tmp_path, flag):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    cv2.imwrite(str(path := tmp_path / 'a.jpg'), image, [flag, 1])
    run_pipeline(decode, dict(img_path=str(path)))
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match='is cut off'):
        run_pipeline(decode, dict(img_path=str(path)))


def test_an_error_of_the_pipeline_blames_the_image_only_where_it_cannot_be_decoded(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r"a\.png' cannot be decoded"):
        run_pipeline(decode, dict(img_path=str(tmp_path / 'a.png')))

    def fault(info):
        raise KeyError('gt_bboxes')

    with pytest.raises(KeyError, match='gt_bboxes'):
        run_pipeline(fault, write(tmp_path / 'b.png'))


def test_more_pixels_than_pillow_takes_are_refused_before_anything_is_decoded(tmp_path, monkeypatch):
    info = write(tmp_path / 'a.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 500)  # an error beyond twice as many
    with pytest.raises(ValueError, match=r'is too large: .*raise PIL\.Image\.MAX_IMAGE_PIXELS'):
        run_pipeline(lambda info: pytest.fail('it was decoded'), info)
