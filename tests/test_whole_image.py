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
