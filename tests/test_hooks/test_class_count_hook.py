import re
from types import SimpleNamespace

import pytest
from mmengine.registry import MODELS
from torch import nn

from ovkd_mm.config_files import read_config_file
from ovkd_mm.hooks import ClassCountHook
from ovkd_mm.hooks.class_count_hook import classifying_heads


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


@pytest.mark.parametrize('key', ['model', 'model.student'])
def test_the_classes_of_a_whole_timm_network_are_those_that_its_wrapper_was_given(key):
    one = runner(2, ['a', 'b'])
    wrapper = MODELS.build(dict(type='mmpretrain.TimmClassifier', model_name='resnet10t', num_classes=3))
    one.model = wrapper if key == 'model' else nn.ModuleDict({'student': wrapper})
    with pytest.raises(ValueError, match=rf'^{key}\.num_classes=3, but'):
        ClassCountHook().before_train(one)
    assert list(classifying_heads(one)) == [key]


def test_the_classes_of_a_network_of_transformers_are_its_labels(tmp_path):
    transformers = pytest.importorskip('transformers', reason='transformers is not installed')
    transformers.ResNetConfig(hidden_sizes=[4], depths=[1], embedding_size=4).save_pretrained(tmp_path)
    one = runner(2, ['a', 'b'])
    one.model = MODELS.build(dict(type='mmpretrain.HuggingFaceClassifier', model_name=str(tmp_path), num_labels=3))
    with pytest.raises(ValueError, match=r'^model\.num_labels=3, but .*; set model\.num_labels=2'):
        ClassCountHook().before_train(one)


def test_mmsegs_and_mmpretrains_heads_are_recognized():
    from mmpretrain.models.heads import LinearClsHead
    from mmseg.models.decode_heads import FCNHead

    for head in (LinearClsHead(num_classes=3, in_channels=4), FCNHead(in_channels=4, channels=4, num_classes=3)):
        one = runner(3, ['a', 'b'])
        one.model['student']['decode_head'] = head
        with pytest.raises(ValueError, match='num_classes=3'):
            ClassCountHook().before_train(one)


def test_a_classifiers_head_is_recognized_by_its_place_whatever_its_layers_are_called():
    from mmpretrain.models.heads import ArcFaceClsHead, VisionTransformerClsHead

    for head in (VisionTransformerClsHead(num_classes=3, in_channels=4), ArcFaceClsHead(num_classes=3, in_channels=4)):
        one = runner(2, ['a', 'b'])
        one.model['student'] = nn.ModuleDict({'head': head})
        with pytest.raises(ValueError, match=r'set model\.student\.head\.num_classes=2'):
            ClassCountHook().before_train(one)


@pytest.mark.parametrize(
    ('config', 'where', 'keys'),
    [
        ('stdc/stdc1_4xb12-80k_cityscapes-512x1024.py', 'auxiliary_head', ['0', '1']),  # its third one learns edges
        ('mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py', 'decode_head', ['']),
        ('maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512.py', 'decode_head', ['']),
        ('point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py', 'decode_head', ['0', '1']),
        ('segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py', 'decode_head', ['']),
        ('knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py', 'decode_head', ['kernel_generate_head']),
    ],
    ids=lambda value: value.partition('/')[0] if isinstance(value, str) and '/' in value else None,
)
@pytest.mark.filterwarnings('ignore')  # upstream's own, about its arguments
def test_the_heads_of_mmsegs_models_are_those_that_learn_the_classes_of_the_data(config, where, keys):
    setting = read_config_file(f'mmseg::{config}', config).model[where]
    several = setting if isinstance(setting, list) else [setting]
    built = [MODELS.build({**one, '_scope_': 'mmseg'}) for one in several]
    one = runner(2, ['a'] * 21)
    one.model = nn.ModuleDict({'student': nn.ModuleDict({where: nn.ModuleList(built) if built[1:] else built[0]})})
    expected = [f'model.student.{where}.{key}'.rstrip('.') for key in keys]
    assert list(classifying_heads(one)) == expected
    with pytest.raises(ValueError, match=rf'^{re.escape(expected[0])}\.num_classes=(19|150), but'):
        ClassCountHook().before_train(one)


@pytest.mark.parametrize(
    ('config', 'key'),
    [
        ('retinanet/retinanet_r18_fpn_1x_coco.py', 'bbox_head'),
        ('ssd/ssd300_coco.py', 'bbox_head'),
        ('detr/detr_r50_8xb2-150e_coco.py', 'bbox_head'),
        ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 'roi_head.bbox_head'),
        ('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py', 'roi_head.bbox_head.0'),
        ('solo/solo_r50_fpn_1x_coco.py', 'mask_head'),
    ],
    ids=lambda value: value.partition('/')[0] if '/' in value else None,
)
@pytest.mark.parametrize('classes', [79, 81])  # a detector learns the 81st as background
@pytest.mark.filterwarnings('ignore')  # upstream's own, about its arguments
def test_the_heads_of_mmdets_models_are_compared(config, key, classes):
    first = key.partition('.')[0]
    model = read_config_file(f'mmdet::{config}', config).model
    setting = model[first] | ({} if first != 'roi_head' else dict(train_cfg=model.train_cfg.rcnn, test_cfg={}))
    one = runner(2, ['a'] * classes)
    one.model = nn.ModuleDict({first: MODELS.build({**setting, '_scope_': 'mmdet'})})
    with pytest.raises(ValueError, match=rf'^model\.{key}\.num_classes=80, but'):
        ClassCountHook().before_train(one)
    ClassCountHook().before_train(SimpleNamespace(**vars(one) | vars(runner(80, ['a'] * 80)) | dict(model=one.model)))


def test_mmdets_mask_transformers_call_their_classes_things():
    head = nn.Module()
    head.num_classes, head.num_things_classes = 80, 80
    one = runner(2, ['cup'])
    one.model = nn.ModuleDict({'panoptic_head': head})
    with pytest.raises(ValueError, match=r'^model\.panoptic_head\.num_things_classes=80, but .* has 1 class '):
        ClassCountHook().before_train(one)
    head.num_things_classes = 1
    ClassCountHook().before_train(one)


def test_a_panoptic_data_sets_things_and_a_detectors_words_are_no_classes_to_count():
    one = runner(80, ['a'] * 133, name='bbox_head')
    one.train_dataloader.dataset.metainfo['thing_classes'] = ['a'] * 80
    ClassCountHook().before_train(one)
    for name in ('GroundingDINOHead', 'ATSSVLFusionHead'):
        head = type(name, (nn.Module,), {})()
        head.num_classes = 256
        one = runner(2, ['a'] * 80)
        one.model = nn.ModuleDict({'bbox_head': head})
        ClassCountHook().before_train(one)


def test_a_timm_backbone_without_its_last_layer_has_no_classes():
    one = runner(2, ['a', 'b'])
    backbone = MODELS.build(dict(type='mmpretrain.TIMMBackbone', model_name='resnet18', pretrained=False))
    one.model['student']['backbone'] = backbone
    assert list(classifying_heads(one)) == ['model.student.decode_head']
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


def head_of(name: str, **settings) -> nn.Module:
    head = type(name, (nn.Module,), {})()
    vars(head).update(settings)
    return head


@pytest.mark.parametrize(
    'others',
    [
        dict(bbox_head=head_of('RPNHead', num_classes=1)),  # mmdet's RPN keeps its head under this name
        dict(mask_head=head_of('FCNMaskHead', num_classes=80, class_agnostic=True)),
        dict(head=head_of('LinearReIDHead', num_classes=None)),
        dict(detector=nn.ModuleDict(dict(bbox_head=head_of('FCOSHead', num_classes=1)))),
        dict(reid=nn.ModuleDict(dict(head=head_of('LinearReIDHead', num_classes=380)))),
    ],
    ids=lambda others: '-'.join(others),
)
def test_heads_without_the_classes_of_the_data_pass(others):
    one = runner(2, ['a', 'b'])
    one.model['student'].update(others)
    assert list(classifying_heads(one)) == ['model.student.decode_head']
    ClassCountHook().before_train(one)


def test_what_puts_instances_together_counts_the_things_as_their_head_does():
    one = runner(2, ['a', 'b'])
    heads = {
        name: head_of(name, num_classes=count, num_things_classes=count)
        for name, count in (('panoptic_head', 2), ('panoptic_fusion_head', 80))
    }
    one.model = nn.ModuleDict(heads)
    with pytest.raises(ValueError, match=r'^model\.panoptic_fusion_head\.num_things_classes=80, but'):
        ClassCountHook().before_train(one)
