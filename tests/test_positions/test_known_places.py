"""Where ``pairs='auto'`` reads the networks that people distil, beside where others read them.

Of ResNet and MobileNetV2 these are the places of the authors' code (the batch norms before the last ReLU of each
stage), of the others the ends of the stages, which the toolkits' necks and heads read.
"""

import pytest

from ovkd_mm.launch.positions import read_networks
from ovkd_mm.positions import PreReLU
from ovkd_mm.positions.auto import auto_places

# Places as 'name: what is tapped'; of an activation its input, else an output.
PLACES = {
    ('mmpretrain::resnet/resnet50_8xb32_in1k.py', 64): [
        'backbone.layer1: input of backbone.layer1.2.relu, call 2',
        'backbone.layer2: input of backbone.layer2.3.relu, call 2',
        'backbone.layer3: input of backbone.layer3.5.relu, call 2',
        'backbone.layer4: input of backbone.layer4.2.relu, call 2',
    ],
    ('mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py', 64): [
        f'backbone.layer{stage}: input of backbone.layer{stage}.1.relu, call 1' for stage in (1, 2, 3, 4)
    ],
    ('mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py', 64): [
        'backbone.layer1: input of backbone.layer2.0.conv.0.activate, call 0',
        'backbone.layer2: input of backbone.layer3.0.conv.0.activate, call 0',
        'backbone.layer3: input of backbone.layer4.0.conv.0.activate, call 0',
        'backbone.layer5: input of backbone.layer6.0.conv.0.activate, call 0',
        'backbone.conv2: input of backbone.conv2.activate, call 0',
    ],
    ('mmpretrain::hrnet/hrnet-w18_4xb32_in1k.py', 64): [
        *(f'backbone[{branch}]: input of backbone.stage4.2.relu, call {branch}' for branch in (0, 1, 2)),
        'backbone.stage4.2.relu: input of backbone.stage4.2.relu, call 3',
    ],
    ('mmpretrain::shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py', 64): [
        'backbone.layers.0: output of backbone.layers.0, call 0',
        'backbone.layers.1: output of backbone.layers.1, call 0',
        'backbone.layers.3: input of backbone.layers.3.activate, call 0',
    ],
    ('mmpretrain::convnext/convnext-tiny_32xb128_in1k.py', 64): [
        f'backbone.stages.{stage}: output of backbone.stages.{stage}, call 0' for stage in range(4)
    ],
    ('mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py', 224): [
        *(
            f'backbone.stages.{stage}.blocks.{last}: output of backbone.stages.{stage}.blocks.{last}, call 0'
            for stage, last in enumerate((1, 1, 5))
        ),
        'backbone[0]: output 0 of backbone, call 0',
    ],
    ('mmpretrain::deit/deit-tiny_4xb256_in1k.py', 224): ['backbone.ln1: output of backbone.ln1, call 0'],
    ('mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py', 64): [
        f'backbone.stage{s}: input of backbone.stage{s}.{block}.final_conv.activate, call 0'
        for s, block in ((2, 1), (3, 1), (4, 2))
    ],
    ('mmdet::yolox/yolox_s_8xb8-300e_coco.py', 64): [
        f'backbone.stage{s}: input of backbone.stage{s}.{block}.final_conv.activate, call 0'
        for s, block in ((2, 1), (3, 1), (4, 2))
    ],
    ('mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py', 64): [
        f'backbone[{stage}]: output {stage} of backbone, call 0' for stage in range(4)
    ],
}


@pytest.mark.parametrize('config', PLACES, ids=lambda config: config[0].rpartition('/')[2])
def test_the_places_of_auto_are_those_that_others_read(config):
    name, size = config
    (network,) = read_networks(name, input_shape=(size, size)).networks
    found = [
        PreReLU(place).resolve(network.trace) for places in auto_places(network.trace).values() for place in places
    ]
    told = [f'{one.name}: {str(one).partition("(")[2].rstrip(")").split(", ")[0]}, call {one.call}' for one in found]
    assert told == PLACES[config]
