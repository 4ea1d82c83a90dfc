import types

import pytest
import torch
from mmdet.models.data_preprocessors import MultiBranchDataPreprocessor
from mmengine.model import ImgDataPreprocessor
from mmpretrain.models import ClsDataPreprocessor
from mmseg.models import SegDataPreProcessor

from ovkd_mm.distillers.renormalize import Renormalize, normalizes

CAFFE = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0])
TORCH = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
PREPROCESSORS = {
    'caffe': lambda: ImgDataPreprocessor(**CAFFE),
    'mmengine': lambda: ImgDataPreprocessor(**TORCH, bgr_to_rgb=True),
    'mmseg': lambda: SegDataPreProcessor(**TORCH, bgr_to_rgb=True, size=(6, 6)),
    'mmpretrain': lambda: ClsDataPreprocessor(**TORCH, to_rgb=True),
    'none': lambda: ClsDataPreprocessor(),
}


def preprocess(preprocessor, images):
    return preprocessor(dict(inputs=images, data_samples=None), training=False)['inputs']


@pytest.mark.parametrize('student', PREPROCESSORS)
@pytest.mark.parametrize('teacher', PREPROCESSORS)
def test_a_teacher_gets_what_its_own_preprocessor_would_give(student, teacher):
    images = [torch.randint(256, (3, 6, 6), dtype=torch.uint8) for _ in range(2)]
    # Of mmpretrain's, which reverses nothing here, the order must be said: it is that of the images.
    orders = ['bgr' if name == 'none' else None for name in (student, teacher)]
    student, teacher = PREPROCESSORS[student](), PREPROCESSORS[teacher]()
    ours = Renormalize(student, teacher, *orders)(preprocess(student, images).float())
    torch.testing.assert_close(ours, preprocess(teacher, images).float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('settings', 'does'),
    [
        (dict(_enable_normalize=True, mean=torch.zeros(3)), True),
        (dict(_enable_normalize=False, mean=torch.zeros(3)), False),
        (dict(_enable_normalize=True, mean=None), False),
        (dict(_enable_normalize=True), False),
        (dict(mean=torch.zeros(3)), False),
    ],
    ids=str,
)
def test_a_preprocessor_normalizes_that_has_a_mean_and_is_told_to_use_it(settings, does):
    assert normalizes(types.SimpleNamespace(**settings)) is does


def test_of_a_preprocessor_that_wraps_another_the_inner_ones_statistics_and_order_count():
    wrapped = MultiBranchDataPreprocessor(dict(type='mmdet.DetDataPreprocessor', **TORCH, bgr_to_rgb=True))
    images = [torch.randint(256, (3, 6, 6), dtype=torch.uint8)]
    ours = Renormalize(PREPROCESSORS['caffe'](), wrapped)(preprocess(PREPROCESSORS['caffe'](), images))
    expected = preprocess(PREPROCESSORS['mmengine'](), images)
    assert normalizes(wrapped)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def of_four(mean=(0, 0, 0, 0), std=(1, 1, 1, 1)):
    try:
        return SegDataPreProcessor(mean=list(mean), std=list(std))
    except AssertionError as exc:
        pytest.skip(f'{exc}, in the forks')


def test_of_four_channels_the_first_three_are_reversed():
    student, teacher = of_four([1, 2, 3, 4], [10, 20, 30, 40]), of_four()
    pixels = torch.tensor([5.0, 6.0, 7.0, 8.0]).view(1, 4, 1, 1)
    seen = Renormalize(student, teacher, 'bgr', 'rgb')((pixels - student.mean) / student.std)
    torch.testing.assert_close(seen.flatten(), torch.tensor([7.0, 6.0, 5.0, 8.0]))


def gray(mean, std):
    return SegDataPreProcessor(mean=[mean], std=[std])


def test_a_gray_image_is_repeated_for_a_teacher_of_three_channels():
    teacher = PREPROCESSORS['mmseg']()
    pixels = torch.randint(256, (2, 1, 6, 6)).float()
    seen = Renormalize(gray(120, 50), teacher, 'bgr')((pixels - 120) / 50)
    torch.testing.assert_close(seen, (pixels.expand(-1, 3, -1, -1) - teacher.mean) / teacher.std, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('student', 'teacher', 'counts'),
    [
        (of_four, PREPROCESSORS['mmseg'], (4, 3)),
        (PREPROCESSORS['mmpretrain'], of_four, (3, 4)),
    ],
    ids=['student of four', 'teacher of four'],
)
def test_other_numbers_of_channels_are_an_error_that_names_both(student, teacher, counts):
    own, others = counts
    message = (
        rf"^the student's images have {own} channels and the teacher's {others}: set teacher\.model to one that takes "
        rf'images of {own}, or train a student on images of {others}$'
    )
    preprocessors = student(), teacher()
    with pytest.raises(ValueError, match=message):
        Renormalize(*preprocessors)


def test_equal_statistics_give_back_the_same_tensor():
    inputs = torch.randn(2, 3, 4, 4)
    assert Renormalize(PREPROCESSORS['mmseg'](), PREPROCESSORS['mmengine']())(inputs) is inputs


@pytest.mark.parametrize('unknown', ['student', 'teacher'])
def test_an_order_that_cannot_be_known_is_an_error_that_names_the_key(unknown):
    orders = dict(student='mmpretrain', teacher='mmengine') | {unknown: 'none'}
    key = 'channel_order' if unknown == 'student' else 'teacher.channel_order'
    with pytest.raises(ValueError, match=rf"^{key} is not set .* preprocessor of the {unknown} .*other one sees 'rgb'"):
        Renormalize(*(PREPROCESSORS[name]() for name in orders.values()))


def test_neither_order_known_is_the_same_order():
    assert not Renormalize(PREPROCESSORS['none'](), PREPROCESSORS['none']()).swap


@pytest.mark.parametrize('orders', [('rbg', None), (None, 'RGB')])
def test_an_order_that_is_none_is_an_error(orders):
    key = 'channel_order' if orders[0] else r'teacher\.channel_order'
    with pytest.raises(ValueError, match=rf"^{key} must be 'rgb' or 'bgr', got"):
        Renormalize(PREPROCESSORS['mmseg'](), PREPROCESSORS['mmengine'](), *orders)


def test_one_mean_may_be_that_of_all_channels():
    pixels = torch.randint(256, (2, 3, 6, 6)).float()
    one, three = gray(120, 50), PREPROCESSORS['mmseg']()
    seen = Renormalize(three, one, teacher_order='rgb')((pixels - three.mean) / three.std)
    torch.testing.assert_close(seen, (pixels - 120) / 50, rtol=1e-4, atol=1e-4)
