"""Any registered model is distilled by config alone: one training step of each kind of model that the toolkits have."""

import pytest
import torch
from command_line import ROOT
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample

SIZE = (64, 64)
CONFIG = """
_base_ = ['{student}', '{method}']
model = dict(
    _delete_=True,
    type='ovkd_mm.FeatureDistiller',
    student={{{{_base_.model}}}},
    teacher=dict(model='{teacher}', allow_random=True),
    method={{{{_base_.method}}}},
    pairs={pairs},
    input_shape={size})
"""
LAYERS = [dict(student=f'backbone.layer{i}', teacher=f'backbone.layer{i}') for i in (2, 3, 4)]


def detection():
    return demo_mm_inputs(2, [[3, *SIZE]] * 2, num_classes=80)


def segmentation():
    samples = [
        SegDataSample(
            gt_sem_seg=PixelData(data=torch.randint(19, (1, *SIZE))), metainfo=dict(img_shape=SIZE, ori_shape=SIZE)
        )
        for _ in range(2)
    ]
    return dict(inputs=[torch.randint(256, (3, *SIZE), dtype=torch.uint8) for _ in samples], data_samples=samples)


def classification():
    samples = [DataSample().set_gt_label(label) for label in (1, 2)]
    return dict(inputs=torch.randint(256, (2, 3, *SIZE), dtype=torch.uint8), data_samples=samples)


STAGES = [dict(student=f'backbone.stage{i}', teacher=f'backbone.stage{i}') for i in (2, 3, 4)]
CASES = {
    'one-stage detector': (
        'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py',
        'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
        LAYERS,
        detection,
    ),
    'two-stage detector': (
        'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        'mmdet::faster_rcnn/faster-rcnn_r101_fpn_1x_coco.py',
        LAYERS,
        detection,
    ),
    'anchor-free detector with synchronized batch norms': (
        'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
        'mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py',
        STAGES,
        detection,
    ),
    'segmentor': (
        'mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py',
        'mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb2-80k_cityscapes-512x1024.py',
        LAYERS,
        segmentation,
    ),
    'classifier': (
        'mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py',
        'mmpretrain::resnet/resnet50_8xb32_in1k.py',
        'auto',
        classification,
    ),
    'detector with frozen stages': (
        'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
        'mmdet::retinanet/retinanet_r101_fpn_1x_coco.py',
        'auto',
        detection,
    ),
    'classifier that learns from a transformer': (
        'mmpretrain::resnet/resnet18_8xb32_in1k.py',
        'mmpretrain::twins/twins-pcpvt-small_8xb128_in1k.py',
        'auto',
        classification,
    ),
    'transformer': (
        'mmpretrain::deit/deit-tiny_4xb256_in1k.py',
        'mmpretrain::deit/deit-small_4xb256_in1k.py',
        [dict(student=f'backbone.layers.{i}', teacher=f'backbone.layers.{i}') for i in (3, 7, 11)],
        classification,
    ),
    'detector that learns from a classifier': (
        'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py',
        'mmpretrain::resnet/resnet34_8xb32_in1k.py',
        LAYERS,
        detection,
    ),
}


@pytest.mark.parametrize('case', CASES)
def test_a_step_of_training_gives_finite_losses_and_a_gradient_at_every_connector(case, tmp_path):
    student, teacher, pairs, data = CASES[case]
    path = tmp_path / 'config.py'
    method = ROOT / 'configs/_base_/methods/ofd.py'
    path.write_text(CONFIG.format(student=student, teacher=teacher, pairs=repr(pairs), method=method, size=SIZE))
    config = Config.fromfile(path)
    init_default_scope(config.default_scope)
    if 'size' in config.model.student.get('data_preprocessor', {}):
        config.model.student.data_preprocessor.size = SIZE  # mmseg pads to its crop
    if config.get('data_preprocessor'):
        config.model.data_preprocessor = config.data_preprocessor
    # As the runner does outside of distributed training; the taps move to the new modules.
    model = revert_sync_batchnorm(MODELS.build(config.model)).train()
    batch = model.data_preprocessor(data(), True)
    losses = model(**batch, mode='loss')
    total, log = model.parse_losses(losses)
    total.backward()
    assert torch.isfinite(total)
    assert len([key for key in log if key.startswith('loss_distill_')]) == len(model.pairs) >= 3
    for pair in model.pairs:
        assert pair.student_transform.conv.weight.grad.abs().sum() > 0
    if case == 'detector that learns from a classifier':
        assert type(model.teacher.model).__name__ == 'ImageClassifier'
