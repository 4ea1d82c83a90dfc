import pytest
from mmdet.models.backbones import ResNet
from torch import nn

from ovkd_mm.positions import auto_pairs, trace


def net(*strides):
    layers = [m for stride in strides for m in (nn.Conv2d(3, 3, 1, stride), nn.BatchNorm2d(3), nn.ReLU())]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.ReLU())


def test_the_last_place_of_each_common_size_is_joined_the_largest_map_first():
    student, teacher = trace(net(1, 2, 2, 1), (16, 16)), trace(net(2, 1, 1, 2, 2), (16, 16))
    assert auto_pairs(student, teacher) == [
        dict(student='5', teacher='8'),
        dict(student='11', teacher='11'),
    ]


def test_only_the_backbone_is_paired_where_there_is_one():
    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = nn.Sequential(nn.Conv2d(3, 3, 1, 2), nn.ReLU()), nn.ReLU()

        def forward(self, x):
            return self.head(self.backbone(x))

    traced = trace(Detector(), (16, 16))
    assert [pair['student'] for pair in auto_pairs(traced, traced)] == ['backbone.1']


def test_no_common_size_is_an_error_with_both_lists():
    with pytest.raises(ValueError, match=r'(?s)\(8, 8\).*\(5, 5\)'):
        auto_pairs(trace(net(2), (16, 16)), trace(net(2), (10, 10)))


def test_a_relu_that_a_strided_block_shares_stands_for_the_size_it_ends_with():
    traced = trace(ResNet(18), (64, 64))
    pairs = auto_pairs(traced, traced)
    assert [pair['student'] for pair in pairs] == [
        'relu',
        'layer1.1.relu',
        'layer2.1.relu',
        'layer3.1.relu',
        'layer4.1.relu',
    ]
    resnet50 = trace(ResNet(50, style='caffe'), (64, 64))  # strides in the first convolution of a block
    assert [pair['teacher'] for pair in auto_pairs(resnet50, resnet50)][1:3] == ['layer1.2.relu', 'layer2.3.relu']
