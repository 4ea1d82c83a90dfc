import pytest
from command_line import ROOT
from mmengine.config import Config

from ovkd_mm.config_files import read_config_file
from ovkd_mm.launch.input_shape import InputShape, input_shape_of

INSTALLED = {
    'mmdet::ssd/ssd300_coco.py': ((300, 300), 'Resize scale=(300, 300)'),
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py': (
        (800, 1344),
        'Resize scale=(1333, 800) with the ratio kept, padded to a multiple of 32',
    ),
    'mmdet::yolox/yolox_s_8xb8-300e_coco.py': ((640, 640), 'Resize scale=(640, 640) with the ratio kept'),
    'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py': ((640, 640), 'Pad size=(640, 640)'),
    'mmdet::detr/detr_r50_8xb2-150e_coco.py': (
        (800, 1333),
        'RandomChoiceResize scales up to (800, 1333) with the ratio kept',
    ),
    'mmdet::yolo/yolov3_d53_8xb8-ms-608-273e_coco.py': (
        (608, 608),
        'RandomResize scale up to (608, 608) with the ratio kept',
    ),
    'mmdet::efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco.py': (
        (896, 896),
        'data_preprocessor batch_augments size=(896, 896)',
    ),
    'mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py': ((512, 1024), 'data_preprocessor size=(512, 1024)'),
    'mmpretrain::resnet/resnet18_8xb16_cifar10.py': ((32, 32), 'RandomCrop crop_size=32'),
    'mmpretrain::vision_transformer/vit-base-p16_64xb64_in1k-384px.py': ((384, 384), 'RandomResizedCrop scale=384'),
    'mmpretrain::efficientnet/efficientnet-b0_8xb32_in1k.py': ((224, 224), 'EfficientNetRandomCrop scale=224'),
}


@pytest.mark.parametrize('name', INSTALLED)
def test_the_size_of_an_installed_config_and_what_tells_it(name):
    assert input_shape_of(read_config_file(name, name)) == InputShape(*INSTALLED[name])


@pytest.mark.parametrize(
    'name', ['ssd300/ofd_ssd300_r50-r18_voc0712.py', 'deeplabv3plus/ofd_deeplabv3plus_r101-r18_voc12aug-513.py']
)
def test_the_pipelines_of_our_configs_tell_what_their_distillations_say(name):
    config = Config.fromfile(ROOT / 'configs' / name)
    said = config.model.pop('input_shape')
    config.model.data_preprocessor = config.model.student.data_preprocessor
    assert input_shape_of(config).size == said


def shape(*steps, toolkit=None, wrap=lambda dataset: dataset, **preprocessor):
    loader = dict(dataset=wrap(dict(type='Any', pipeline=list(steps))))
    return input_shape_of(
        Config(dict(model=dict(data_preprocessor=preprocessor), train_dataloader=loader, default_scope=toolkit))
    )


def test_a_distillation_says_it_itself():
    assert input_shape_of(Config(dict(model=dict(input_shape=[20, 30])))) == InputShape((20, 30), 'model.input_shape')


@pytest.mark.parametrize('said', [300, 'auto', (300,), (0, 300), (300.0, 300), (), [300, '300']])
def test_a_distillation_that_says_no_size_is_refused(said):
    with pytest.raises(ValueError, match=r'input_shape must be \(H, W\) in pixels, such as \(300, 300\); got '):
        input_shape_of(Config(dict(model=dict(input_shape=said))))


def test_width_and_height_stand_in_the_order_of_who_reads_them():
    assert shape(dict(type='Resize', scale=(30, 20))).size == (20, 30)
    crop = dict(type='RandomCrop', crop_size=(30, 20))
    assert shape(crop, toolkit='mmseg').size == shape(crop, toolkit='mmpretrain').size == (30, 20)
    assert shape(crop, toolkit='mmdet').size == (20, 30)
    assert shape(dict(crop, type='mmdet.RandomCrop'), toolkit='mmseg').size == (20, 30)


def test_the_last_step_that_sets_a_size_counts_the_outer_data_set_comes_later():
    resize, crop = dict(type='Resize', scale=(30, 20)), dict(type='RandomCrop', crop_size=16)
    assert shape(resize, crop, dict(type='RandomFlip')).size == (16, 16)
    assert shape(resize, wrap=lambda inner: dict(dataset=inner, pipeline=[crop])).size == (16, 16)
    assert shape(crop, wrap=lambda inner: dict(datasets=[inner], pipeline=[])).size == (16, 16)
    assert shape(resize, dict(type='RandomCrop', crop_size=(0.5, 0.5), crop_type='relative')).size == (20, 30)


def test_of_alternatives_the_one_with_the_largest_result_counts():
    large, small, crop = (
        dict(type=kind, **{key: size})
        for kind, key, size in (
            ('Resize', 'scale', (40, 30)),
            ('Resize', 'scale', (20, 10)),
            ('RandomCrop', 'crop_size', 16),
        )
    )
    flip = dict(type='RandomFlip')
    choice = dict(type='RandomChoice', transforms=[[small, flip], [large, flip]])
    assert shape(choice) == InputShape((30, 40), 'Resize scale=(40, 30)')
    assert shape(dict(type='mmcv.RandomChoice', transforms=[small, large, crop])).size == (30, 40)
    assert shape(dict(type='RandomChoice', transforms=[[large, crop], small])).size == (16, 16)
    assert shape(large, dict(type='RandomChoice', transforms=[[flip], [crop]])).size == (30, 40)
    assert shape(dict(type='RandomChoice', transforms=[[flip], [crop]])).size == (16, 16)
    assert shape(choice, small).size == (10, 20)
    assert shape(dict(type='RandomApply', transforms=[large, crop])).size == (16, 16)


def test_a_kept_ratio_is_that_of_a_wide_image():
    assert shape(dict(type='Resize', scale=(20, 30), keep_ratio=True)).size == (20, 30)
    assert shape(dict(type='Resize', scale=(30, 20), keep_ratio=True)).size == (20, 30)


def test_what_the_preprocessor_pads_to_comes_last():
    crop = dict(type='RandomCrop', crop_size=33)
    assert shape(crop, size=(40, 50)).size == (40, 50)
    assert shape(crop, pad_size_divisor=32).size == (64, 64)
    assert shape(crop, size_divisor=11) == InputShape((33, 33), 'RandomCrop crop_size=33')


def test_a_batch_may_be_padded_by_a_class_instead_of_its_name():
    class BatchFixedSizePad:
        pass

    augment = dict(type=BatchFixedSizePad, size=(40, 50))
    assert shape(dict(type='RandomCrop', crop_size=33), batch_augments=[augment]).size == (40, 50)


def test_what_is_not_told_is_not_guessed():
    assert shape() is None
    assert shape(dict(type='ResizeEdge', scale=256), pad_size_divisor=32) is None
