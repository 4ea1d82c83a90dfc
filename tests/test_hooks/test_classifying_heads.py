import pytest
from mmengine.registry import MODELS
from torch import nn

from ovkd_mm.config_files import read_config_file
from ovkd_mm.hooks.classifying_heads import classifying_heads


def counts(model: nn.Module) -> dict[str, int]:
    """The numbers of classes by the keys that set them."""
    return {f'{key}.{head.setting}': head.classes for key, head in classifying_heads(model).items()}


def head_of(name: str, **settings) -> nn.Module:
    head = type(name, (nn.Module,), {})()
    vars(head).update(settings)
    return head


@pytest.mark.parametrize('place', ['model', 'model.student'])
def test_the_classes_of_a_whole_timm_network_are_those_that_its_wrapper_was_given(place):
    wrapper = MODELS.build(dict(type='mmpretrain.TimmClassifier', model_name='resnet10t', num_classes=3))
    model = wrapper if place == 'model' else nn.ModuleDict({'student': wrapper})
    assert counts(model) == {f'{place}.num_classes': 3}


def test_the_classes_of_a_network_of_transformers_are_its_labels(tmp_path):
    transformers = pytest.importorskip('transformers', reason='transformers is not installed')
    transformers.ResNetConfig(hidden_sizes=[4], depths=[1], embedding_size=4).save_pretrained(tmp_path)
    settings = dict(type='mmpretrain.HuggingFaceClassifier', model_name=str(tmp_path), num_labels=3)
    assert counts(MODELS.build(settings)) == {'model.num_labels': 3}


@pytest.mark.parametrize('kind', ['LinearClsHead', 'VisionTransformerClsHead', 'ArcFaceClsHead'])
def test_a_classifiers_head_is_recognized_whatever_its_layers_are_called(kind):
    head = MODELS.build(dict(type=f'mmpretrain.{kind}', num_classes=3, in_channels=4))
    assert counts(nn.ModuleDict({'head': head})) == {'model.head.num_classes': 3}


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
    ids=lambda value: value.partition('/')[0] if '/' in value else None,
)
@pytest.mark.filterwarnings('ignore')  # upstream's own, about its arguments
def test_the_heads_of_mmsegs_models_are_recognized(config, where, keys):
    setting = read_config_file(f'mmseg::{config}', config).model[where]
    several = setting if isinstance(setting, list) else [setting]
    built = [MODELS.build({**one, '_scope_': 'mmseg'}) for one in several]
    model = nn.ModuleDict({where: nn.ModuleList(built) if built[1:] else built[0]})
    classes = 150 if 'ade20k' in config else 19
    assert counts(model) == {f'model.{where}.{key}'.rstrip('.') + '.num_classes': classes for key in keys}


@pytest.mark.parametrize(
    ('config', 'keys'),
    [
        ('retinanet/retinanet_r18_fpn_1x_coco.py', ['bbox_head']),
        ('ssd/ssd300_coco.py', ['bbox_head']),
        ('detr/detr_r50_8xb2-150e_coco.py', ['bbox_head']),
        ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', ['roi_head.bbox_head']),
        ('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py', [f'roi_head.bbox_head.{stage}' for stage in range(3)]),
        ('solo/solo_r50_fpn_1x_coco.py', ['mask_head']),
    ],
    ids=lambda value: value.partition('/')[0] if isinstance(value, str) else None,
)
@pytest.mark.filterwarnings('ignore')  # upstream's own, about its arguments
def test_the_heads_of_mmdets_models_are_recognized(config, keys):
    first = keys[0].partition('.')[0]
    model = read_config_file(f'mmdet::{config}', config).model
    setting = model[first] | ({} if first != 'roi_head' else dict(train_cfg=model.train_cfg.rcnn, test_cfg={}))
    built = MODELS.build({**setting, '_scope_': 'mmdet'})
    assert counts(nn.ModuleDict({first: built})) == {f'model.{key}.num_classes': 80 for key in keys}


def test_mmdets_mask_transformers_call_their_classes_things():
    heads = {name: head_of('Head', num_classes=133, num_things_classes=80) for name in ('panoptic_head', 'mask_head')}
    assert counts(nn.ModuleDict(heads)) == {
        'model.panoptic_head.num_things_classes': 80,
        'model.mask_head.num_classes': 133,
    }


def test_a_timm_backbone_without_its_last_layer_has_no_classes():
    backbone = MODELS.build(dict(type='mmpretrain.TIMMBackbone', model_name='resnet18', pretrained=False))
    assert counts(nn.ModuleDict({'backbone': backbone})) == {}


@pytest.mark.parametrize(
    ('place', 'head'),
    [
        ('bbox_head', head_of('RPNHead', num_classes=1)),  # mmdet's RPN keeps its head under this name
        ('bbox_head', head_of('GroundingDINOHead', num_classes=256)),  # words
        ('mask_head', head_of('FCNMaskHead', num_classes=80, class_agnostic=True)),
        ('head', head_of('LinearReIDHead', num_classes=None)),
        ('detector', nn.ModuleDict(dict(bbox_head=head_of('FCOSHead', num_classes=1)))),
        ('reid', nn.ModuleDict(dict(head=head_of('LinearReIDHead', num_classes=380)))),
        ('neck', head_of('FPN', num_classes=3)),
    ],
    ids=['proposals', 'words', 'class-agnostic', 'identities', 'tracker', 'persons', 'neck'],
)
def test_heads_without_the_classes_of_the_data_are_left_aside(place, head):
    assert counts(nn.ModuleDict({place: head})) == {}
