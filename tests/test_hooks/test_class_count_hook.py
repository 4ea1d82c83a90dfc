import re
from types import SimpleNamespace

import pytest
from mmengine.registry import MODELS
from torch import nn

from ovkd_mm.config_files import read_config_file
from ovkd_mm.hooks import ClassCountHook


def runner(num_classes: int, classes: list | None, classifier: str = 'conv_seg', name: str = 'decode_head'):
    head = nn.Module()
    head.num_classes = num_classes
    head.add_module(classifier, nn.Linear(1, 1))
    model = nn.ModuleDict({'student': nn.ModuleDict({name: head})})
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=classes)))
    loop = SimpleNamespace(dataloader=loader, evaluator=SimpleNamespace(metrics=[]))
    loaders = dict(train_dataloader=loader, val_dataloader=loader, test_dataloader=loader)
    return SimpleNamespace(model=model, val_loop=loop, test_loop=loop, **loaders)


@pytest.mark.parametrize('stage', ['before_train', 'before_val', 'before_test'])
@pytest.mark.parametrize('num_classes', [20, 22])
@pytest.mark.parametrize('classifier', ['conv_seg', 'fc'])
def test_another_number_of_classes_is_an_error_that_names_the_key(stage, num_classes, classifier):
    message = r'set model\.student\.decode_head\.num_classes=21.*'
    with pytest.raises(ValueError, match=message):
        getattr(ClassCountHook(), stage)(runner(num_classes, ['a'] * 21, classifier))


def test_equal_numbers_unknown_classes_and_modules_that_are_no_heads_pass():
    ClassCountHook().before_train(runner(21, ['a'] * 21))
    ClassCountHook().before_train(runner(20, None))
    ClassCountHook().before_train(runner(20, ['a'] * 21, classifier='fc_cls', name='neck'))
    ClassCountHook().before_train(runner(20, ['a'] * 21, classifier='fc_cls', name='rpn_head'))


def test_a_text_in_place_of_a_list_of_classes_is_refused():
    with pytest.raises(ValueError, match=r"metainfo\.classes='cup' of SimpleNamespace is a text.* \('cup',\)"):
        ClassCountHook().before_train(runner(3, 'cup'))


@pytest.mark.parametrize(('count', 'listed'), [(2, 'a, b'), (4, 'a, b, c, ...')])
def test_classes_that_are_not_all_listed_end_in_dots(count, listed):
    with pytest.raises(ValueError, match=rf'SimpleNamespace has {count} classes \({re.escape(listed)}\)'):
        ClassCountHook().before_train(runner(9, ['a', 'b', 'c', 'd'][:count]))


@pytest.mark.parametrize(('stage', 'key'), [('before_train', 'val_evaluator'), ('before_test', 'test_evaluator')])
def test_a_top_5_accuracy_of_fewer_classes_is_refused_before_anything_runs(stage, key):
    from mmpretrain.evaluation import Accuracy

    one = runner(3, ['a', 'b', 'c'])
    one.val_loop.evaluator.metrics = [Accuracy(topk=(1, 5))]
    with pytest.raises(
        ValueError, match=rf'^{key}\.topk=\(1, 5\), but .* has 3 classes \(a, b, c\); set {key}\.topk=1$'
    ):
        getattr(ClassCountHook(), stage)(one)
    one.val_loop.evaluator.metrics = [Accuracy(topk=(1, 3))]
    getattr(ClassCountHook(), stage)(one)
    one.val_loop = None
    ClassCountHook().before_train(one)


@pytest.mark.parametrize(('weights', 'fits'), [(2, False), (3, True), (4, True), (5, False)])
def test_a_loss_weighs_the_classes_that_there_are_and_perhaps_the_background(weights, fits):
    from mmseg.models.decode_heads import FCNHead

    losses = [dict(type='CrossEntropyLoss'), dict(type='CrossEntropyLoss', loss_name='b', class_weight=[1.0] * weights)]
    one = runner(3, ['a', 'b', 'c'])
    one.model['student']['decode_head'] = FCNHead(in_channels=4, channels=4, num_classes=3, loss_decode=losses)
    if fits:
        return ClassCountHook().before_train(one)
    key = r'model\.student\.decode_head'
    with pytest.raises(ValueError, match=rf'^{key}\.loss_decode\.1\.class_weight has {weights} .*\.num_classes=3'):
        ClassCountHook().before_train(one)


@pytest.mark.filterwarnings('ignore')  # upstream's own, about its arguments
def test_a_panoptic_head_weighs_things_stuff_and_nothing():
    config = 'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'
    model = read_config_file(f'mmdet::{config}', config).model
    setting = model.panoptic_head | dict(train_cfg=model.train_cfg, test_cfg=model.test_cfg, _scope_='mmdet')
    one = runner(2, ['a'] * 133)
    one.train_dataloader.dataset.metainfo['thing_classes'] = ['a'] * 80
    one.model = nn.ModuleDict({'panoptic_head': MODELS.build(setting)})
    ClassCountHook().before_train(one)
    one.model['panoptic_head'].class_weight = [1.0] * 81
    with pytest.raises(ValueError, match=r'^model\.panoptic_head\.class_weight has 81 numbers'):
        ClassCountHook().before_train(one)


def test_a_panoptic_data_set_shares_its_classes_among_several_heads():
    one = runner(80, ['a'] * 133, name='bbox_head')
    with pytest.raises(ValueError, match=r'bbox_head\.num_classes=80, but'):
        ClassCountHook().before_train(one)
    one.train_dataloader.dataset.metainfo['thing_classes'] = ['a'] * 80
    ClassCountHook().before_train(one)


def test_a_mask_transformer_and_what_puts_its_instances_together_call_their_classes_things():
    one = runner(2, ['cup'])
    for name, count in (('panoptic_head', 1), ('panoptic_fusion_head', 80)):
        one.model['student'][name] = head = nn.Module()
        head.num_classes = head.num_things_classes = count
    one.model['student']['decode_head'].num_classes = 1
    key = r'model\.student\.panoptic_fusion_head\.num_things_classes'
    with pytest.raises(ValueError, match=rf'^{key}=80, but SimpleNamespace has 1 class \(cup\); set {key}=1'):
        ClassCountHook().before_train(one)
