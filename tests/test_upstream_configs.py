"""A config of each family that the toolkits ship, distilled for a step; ``make test-upstream`` takes all of them."""

from pathlib import Path

import pytest
from upstream.__main__ import page
from upstream.check import check

ROWS = Path(__file__).with_name('upstream') / 'configs.txt'
TEACHERS = dict(line.split() for line in ROWS.read_text().splitlines())
FAMILIES = (
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
    'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco',
    'mmdet::pvt/retinanet_pvt-s_fpn_1x_coco',
    'mmdet::rtmdet/rtmdet_s_8xb32-300e_coco',
    'mmdet::ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco',
    'mmdet::yolo/yolov3_d53_8xb8-320-273e_coco',
    'mmdet::yolox/yolox_s_8xb8-300e_coco',
    'mmseg::ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024',
    'mmseg::fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024',
    'mmseg::ocrnet/ocrnet_hr18s_4xb4-80k_ade20k-512x512',
    'mmseg::pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes',
    'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512',
    'mmseg::segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512',
    'mmseg::stdc/stdc1_4xb12-80k_cityscapes-512x1024',
    'mmpretrain::convnext/convnext-tiny_32xb128_in1k',
    'mmpretrain::deit/deit-tiny_4xb256_in1k',
    'mmpretrain::densenet/densenet121_4xb256_in1k',
    'mmpretrain::inception_v3/inception-v3_8xb32_in1k',
    'mmpretrain::efficientnet/efficientnet-es_8xb32-01norm_in1k',
    'mmpretrain::mobilenet_v3/mobilenet-v3-small_8xb128_in1k',
    'mmpretrain::poolformer/poolformer-s12_32xb128_in1k',
    'mmpretrain::repvgg/repvgg-A0_8xb32_in1k',
    'mmpretrain::shufflenet_v2/shufflenet-v2-1x_16xb64_in1k',
    'mmpretrain::swin_transformer/swin-tiny_16xb64_in1k',
)


@pytest.mark.parametrize('family', FAMILIES)
def test_a_config_of_each_family_is_distilled_by_auto_alone_and_is_the_plain_one_with_weight_0(family):
    found = check(f'{family}.py', TEACHERS[f'{family}.py'])
    assert not found['error']
    assert found['pairs']


def test_the_page_says_what_passed_what_failed_and_what_does_not_train_alone():
    row = dict(student='mmdet::a/b.py', teacher='mmdet::a/c.py', error='', plain=False, pairs=['x 4x2x2 (y) <- z'])
    text = page([row, row | dict(error='ValueError: a | b'), row | dict(error='OSError: c', plain=True)])
    assert 'Of 3 configs 1 pass, 1 do not, and 1 do not train alone either' in text
    assert '| `mmdet::a/b` | c | `x` 4x2x2 | passed |' in text
    assert '| ValueError: a \\| b |' in text
    assert '| does not train alone: OSError: c |' in text
