"""Each row holds what the installed toolkit really calls a thing."""

import inspect
from importlib import import_module
from importlib.metadata import packages_distributions

import pytest
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.models.data_preprocessors import DetDataPreprocessor, MultiBranchDataPreprocessor
from mmengine.registry import VISUALIZERS
from mmpretrain.engine.hooks import VisualizationHook
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.models.utils import ClsDataPreprocessor
from mmseg.engine.hooks import SegVisualizationHook
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.models.decode_heads import FCNHead

from ovkd_mm.distillers.channel_order import seen_order
from ovkd_mm.toolkits import TOOLKITS, image_preprocessor

HOOKS = dict(mmdet=DetVisualizationHook, mmseg=SegVisualizationHook, mmpretrain=VisualizationHook)


@pytest.mark.parametrize('name', TOOLKITS)
def test_it_is_imported_by_its_name_and_comes_with_one_of_its_packages(name):
    import_module(name)
    assert set(packages_distributions()[name]) & set(TOOLKITS[name].packages)


@pytest.mark.parametrize('name', TOOLKITS)
def test_its_visualizer_and_the_keys_of_its_hook_exist(name):
    toolkit = TOOLKITS[name]
    assert VISUALIZERS.get(f'{name}.{toolkit.visualizer}').__name__ == toolkit.visualizer
    keys = inspect.signature(HOOKS[name]).parameters
    assert toolkit.draws in keys
    assert toolkit.draws_into in keys or (toolkit.draws_into is None and not any('dir' in key for key in keys))


@pytest.mark.parametrize(
    ('name', 'preprocessor', 'key'),
    [
        ('mmdet', DetDataPreprocessor, 'bgr_to_rgb'),
        ('mmseg', SegDataPreProcessor, 'bgr_to_rgb'),
        ('mmpretrain', ClsDataPreprocessor, 'to_rgb'),
    ],
)
def test_its_preprocessor_notes_whether_it_reverses_channels(name, preprocessor, key):
    for reverses in (True, False):
        # Whichever toolkit's name it has for that: in a fork, mmseg's preprocessor has that of mmdet's.
        assert seen_order(preprocessor(**{key: reverses})) == ('rgb' if reverses else TOOLKITS[name].loads)


def test_images_are_normalized_by_the_preprocessor_itself_or_by_the_one_inside():
    plain = DetDataPreprocessor()
    assert image_preprocessor(plain) is plain
    wrapper = MultiBranchDataPreprocessor(dict(type='mmdet.DetDataPreprocessor'))
    assert image_preprocessor(wrapper) is wrapper.data_preprocessor


def test_its_classifiers_are_what_its_heads_have():
    assert TOOLKITS['mmseg'].classifiers[0] in dict(FCNHead(in_channels=4, channels=4, num_classes=3).named_children())
    assert TOOLKITS['mmpretrain'].classifiers[0] in dict(LinearClsHead(3, 4).named_children())
