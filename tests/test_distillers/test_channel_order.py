import pytest
from mmcv.transforms import LoadImageFromFile
from mmdet.models.data_preprocessors import MultiBranchDataPreprocessor
from mmengine.config import Config
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from mmpretrain.datasets import CIFAR10
from mmpretrain.models import ClsDataPreprocessor
from mmseg.models import SegDataPreProcessor

from ovkd_mm.distillers.channel_order import loaded_order, seen_order

FILES = dict(type='CustomDataset', pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')])
ARCHIVE = dict(type='CIFAR100', pipeline=[dict(type='PackInputs')])


def through_pil(**back):
    to_pil, to_numpy = dict(type='NumpyToPIL', to_rgb=True), dict(type='PILToNumpy', **back)
    return FILES | dict(pipeline=[dict(type='LoadImageFromFile'), to_pil, dict(type='torchvision/Resize'), to_numpy])


@pytest.mark.parametrize(
    ('dataset', 'order'),
    [
        (FILES, 'bgr'),
        (ARCHIVE, 'rgb'),
        (ARCHIVE | dict(type='mmpretrain.CIFAR10'), 'rgb'),
        (dict(type='MyImages', pipeline=[dict(type='PackInputs')]), None),
        (dict(type='RepeatDataset', dataset=ARCHIVE), 'rgb'),
        (ARCHIVE | dict(type=CIFAR10), 'rgb'),
        (FILES | dict(pipeline=[dict(type=LoadImageFromFile)]), 'bgr'),
        (through_pil(), 'rgb'),
        (through_pil(to_bgr=True), 'bgr'),
        (dict(type='RepeatDataset', dataset=dict(type='ConcatDataset', datasets=[FILES, FILES])), 'bgr'),
    ],
)
def test_a_configs_data_set_tells_how_images_are_loaded(dataset, order):
    assert loaded_order(Config(dict(train_dataloader=dict(dataset=dataset)))) == order


def test_a_config_without_data_does_not_tell():
    assert loaded_order(Config(dict(model=dict(type='ResNet')))) is None


@pytest.mark.parametrize(
    ('preprocessor', 'loaded', 'order'),
    [
        (lambda: ImgDataPreprocessor(bgr_to_rgb=True), None, 'rgb'),
        (lambda: ImgDataPreprocessor(), None, 'bgr'),
        (lambda: SegDataPreProcessor(bgr_to_rgb=True), None, 'rgb'),
        (lambda: SegDataPreProcessor(), None, 'bgr'),
        (lambda: ClsDataPreprocessor(to_rgb=True), None, 'rgb'),
        (lambda: ClsDataPreprocessor(to_rgb=True), 'bgr', 'rgb'),
        (lambda: ClsDataPreprocessor(to_rgb=True), 'rgb', 'bgr'),
        (lambda: ClsDataPreprocessor(), None, None),
        (lambda: ClsDataPreprocessor(), 'rgb', 'rgb'),
        (lambda: MultiBranchDataPreprocessor(dict(type='mmdet.DetDataPreprocessor', bgr_to_rgb=True)), None, 'rgb'),
        (lambda: MultiBranchDataPreprocessor(dict(type='mmdet.DetDataPreprocessor')), None, 'bgr'),
        (lambda: BaseDataPreprocessor(), None, None),
        (lambda: BaseDataPreprocessor(), 'bgr', 'bgr'),
    ],
)
def test_a_preprocessor_puts_out_what_it_takes_or_the_reverse(preprocessor, loaded, order):
    assert seen_order(preprocessor(), loaded) == order
