import pytest
import timm
import torch
from mmdet.models.backbones import HRNet, ResNet
from mmpretrain.models.backbones import ConvNeXt, ShuffleNetV2, VisionTransformer
from mmseg.models.backbones import MobileNetV2
from torch import nn

from ovkd_mm.positions import PreReLU, auto, auto_pairs, auto_places, trace


def net(*strides):
    layers = [m for stride in strides for m in (nn.Conv2d(3, 3, 1, stride), nn.BatchNorm2d(3), nn.ReLU())]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.ReLU())


def test_the_last_place_of_each_common_size_is_joined_the_largest_map_first():
    student, teacher = trace(net(1, 2, 2, 1), (16, 16)), trace(net(2, 1, 1, 2, 2), (16, 16))
    assert auto_pairs(student, teacher) == [
        dict(student='5', teacher='8'),
        dict(student='11', teacher='11'),
    ]


def test_stages_of_the_teacher_of_whose_size_the_student_has_none_are_told(monkeypatch):
    said = []
    monkeypatch.setattr('ovkd_mm.positions.auto.print_log', lambda message, **_: said.append(message))
    auto_pairs(trace(net(1, 2), (16, 16)), trace(net(1, 2, 2, 2), (16, 16)))
    assert said[0].startswith("pairs='auto' leaves out 8, 11 of the teacher: no stage of the student has the size.")


def test_stages_of_the_student_of_whose_size_the_teacher_has_none_are_told(monkeypatch):
    said = []
    monkeypatch.setattr('ovkd_mm.positions.auto.print_log', lambda message, **_: said.append(message))
    auto_pairs(trace(net(1, 2, 2, 2), (16, 16)), trace(net(1, 2), (16, 16)))
    assert said[0].startswith("pairs='auto' leaves out 8, 11 of the student: no stage of the teacher has the size.")


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


def places(net, size=64):
    """What auto names in a network, and what the paper's position makes of each."""
    traced = trace(net, (size, size))
    names = [name for names in auto_places(traced).values() for name in names]
    return {name: PreReLU(name).resolve(traced) for name in names}


def test_a_relu_that_a_strided_block_shares_stands_for_the_size_it_ends_with():
    for depth, style, ends in ((18, 'pytorch', (1, 1, 1, 1)), (50, 'caffe', (2, 3, 5, 2))):
        found = places(ResNet(depth, style=style))
        assert list(found) == ['layer1', 'layer2', 'layer3', 'layer4']
        assert [place.path for place in found.values()] == [f'layer{i}.{end}.relu' for i, end in enumerate(ends, 1)]


def test_a_backbone_of_several_maps_is_read_at_those_told_apart_where_their_sizes_are_equal():
    dilated = ResNet(18, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))
    assert auto_places(trace(dilated, (64, 64))) == {(16, 16): ['layer1'], (8, 8): ['layer2', 'layer3', 'layer4']}
    traced, other = trace(dilated, (64, 64)), trace(ResNet(18, strides=(1, 2, 1, 2)), (64, 64))
    assert [tuple(pair.values()) for pair in auto_pairs(traced, other)] == [
        ('layer1', 'layer1'),
        ('layer2', 'layer2'),
        ('layer3', 'layer3'),
    ]
    third = trace(nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU()), (64, 64))
    assert auto_pairs(traced, third) == [dict(student='layer4', teacher='2')]


def test_the_stages_of_a_backbone_of_one_map_are_found_between_image_and_map():
    found = places(ResNet(18, out_indices=(3,)))
    assert list(found) == ['layer1', 'layer2', 'layer3', 'layer4']
    mobile = places(MobileNetV2(out_indices=(6,)))
    assert [(name, place.channels) for name, place in mobile.items()] == [
        ('layer1', 96),
        ('layer2', 144),
        ('layer3', 192),
        ('layer5', 576),
        ('layer7', 320),
    ]


def test_the_first_stage_of_a_trunk_that_is_one_module_is_a_place_as_the_others_are():
    for model in (
        timm.create_model('convnext_atto', depths=(1, 1, 1, 1), dims=(4, 4, 4, 4)),
        timm.create_model('pvt_v2_b0', depths=(1, 1, 1, 1), embed_dims=(8, 8, 8, 8), num_heads=(1, 1, 1, 1)),
    ):
        places = auto_places(trace(model, (64, 64)))
        assert places == {(16, 16): ['stages.0'], (8, 8): ['stages.1'], (4, 4): ['stages.2'], (2, 2): ['stages']}


def test_no_branch_stands_for_the_whole():
    """Of the units of ShuffleNet and of HRNet's branches only what all of them end in is a place."""
    shuffle = places(ShuffleNetV2(out_indices=(3,)))
    assert {name: (place.path, place.side) for name, place in shuffle.items()} == {
        'layers.0': ('layers.0', 'output'),
        'layers.1': ('layers.1', 'output'),
        'layers.3': ('layers.3.activate', 'input'),
    }
    widths = [4, 8, 16, 32]
    stages = {
        f'stage{i}': dict(
            num_modules=1,
            num_branches=max(i, 1),
            block='BASIC' if i > 1 else 'BOTTLENECK',
            num_blocks=(1,) * max(i, 1),
            num_channels=tuple(widths[: max(i, 1)]),
        )
        for i in (1, 2, 3, 4)
    }
    found = places(Wrapped(HRNet(stages)))
    assert [place.shape for place in found.values()] == [(c, 16 // 2**i, 16 // 2**i) for i, c in enumerate(widths)]
    assert {place.path for place in found.values()} == {'backbone.stage4.0.relu'}
    assert [place.call for place in found.values()] == [0, 1, 2, 3]


def test_what_a_backbone_joins_itself_is_a_place_as_in_ddrnet():
    class Joining(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 1, 1), nn.ReLU())
            self.one, self.two = nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            x = self.stem(x)
            return self.one(x) + self.two(x)

    found = places(Wrapped(Joining()), 8)
    assert {name: (place.path, place.side, place.shape) for name, place in found.items()} == {
        'backbone': ('backbone', 'output', (4, 4, 4))
    }


class TwoBranches(nn.Module):
    """As Conformer: a stem, then two branches that hear of each other, each pooled to a vector of its own."""

    def __init__(self, pools=True):
        super().__init__()
        self.stem, self.pools = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU()), pools
        self.one, self.two = nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1)
        self.last, self.other = nn.Conv2d(4, 6, 3, 1, 1), nn.Conv2d(4, 6, 3, 1, 1)

    def forward(self, x):
        x = self.stem(x)
        one, two = self.one(x), self.two(x)
        ends = self.last(one + two), self.other(two)
        return [end.mean((2, 3)) for end in ends] if self.pools else sum(end.mean((2, 3)) for end in ends)


def test_of_several_vectors_each_has_the_places_that_lead_to_it():
    assert list(places(Wrapped(TwoBranches()), 8)) == ['backbone.last', 'backbone.other']


def test_places_behind_which_most_of_the_backbone_lies_are_told_of(monkeypatch):
    said = []
    monkeypatch.setattr('ovkd_mm.positions.auto.print_log', lambda message, **_: said.append(message))
    vectors, summed = (trace(Wrapped(TwoBranches(pools)), (8, 8)) for pools in (True, False))
    auto_pairs(vectors, vectors)
    assert not said
    auto_pairs(summed, summed)
    # the stem's 112 weights of 848
    assert "found backbone.stem in the student; only 13% of its backbone's weights lie before" in said[0]


def test_what_feeds_a_bias_and_not_the_image_is_no_place():
    class Biased(nn.Module):
        """Like Swin v2's position bias: a map that depends on weights alone is added."""

        def __init__(self):
            super().__init__()
            self.first, self.second, self.third = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
            self.bias = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
            self.grid = nn.Parameter(torch.randn(1, 4, 8, 8))

        def forward(self, x):
            return self.third(self.second(self.first(x)) + self.bias(self.grid))

    assert list(places(Wrapped(Biased()), 8)) == ['backbone.third']


def test_places_before_which_all_is_frozen_are_left_out_and_named(monkeypatch):
    said = []
    monkeypatch.setattr('ovkd_mm.positions.auto.print_log', lambda message, **_: said.append(message))
    student, teacher = ResNet(18, frozen_stages=2), ResNet(18, frozen_stages=4)
    pairs = auto_pairs(trace(student, (64, 64)), trace(teacher, (64, 64)))
    assert [pair['student'] for pair in pairs] == ['layer3', 'layer4']
    assert said == ["pairs='auto' leaves out layer1, layer2: all before is frozen in the student"]


def test_a_student_that_is_frozen_as_a_whole_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r'its whole backbone is frozen, .*\(frozen_stages\)'):
        auto_pairs(*(trace(ResNet(18, frozen_stages=4), (64, 64)) for _ in range(2)))


def test_tokens_and_channels_last_are_maps_too():
    vit = places(Wrapped(VisionTransformer('deit-s', img_size=64, patch_size=16, out_type='cls_token')))
    assert [(name, place.shape, str(place.layout)) for name, place in vit.items()] == [
        ('backbone.ln1', (384, 4, 4), '1 + 4x4 tokens')
    ]
    convnext = places(Wrapped(ConvNeXt('atto')))
    assert list(convnext) == [f'backbone.stages.{i}' for i in range(4)]
    assert {str(place.layout) for place in convnext.values()} == {'NCHW'}
    assert [place.activated for place in convnext.values()] == [False] * 4


def test_an_error_that_ended_the_forward_is_in_the_message():
    class Failing(nn.Sequential):
        def forward(self, x):
            super().forward(x)
            raise OSError('no space')

    failed = trace(Failing(nn.Conv2d(3, 3, 1), nn.ReLU()), (5, 5))
    with pytest.raises(ValueError, match=r"the forward of the teacher stopped early: OSError\('no space'\)"):
        auto_pairs(trace(net(1), (16, 16)), failed)


class Wrapped(nn.Module):
    """A model of nothing but a backbone."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x):
        return self.backbone(x)


def test_a_backbone_that_the_forward_never_calls_is_named():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            raise RuntimeError('needs samples')

    with pytest.raises(ValueError, match=r"pairs='auto' looks at 'backbone', which .* never calls \(.*needs samples"):
        auto_places(trace(Idle(), (8, 8)))


def test_of_lists_of_equal_length_the_last_are_joined_whatever_their_names():
    student, teacher = trace(net(1, 1, 2), (16, 16)), trace(net(1, 1, 2), (16, 16))
    assert [pair['student'] for pair in auto_pairs(student, teacher)] == ['5', '8']
    assert auto._joined(['a', 'b'], ['b', 'c']) == [('a', 'b'), ('b', 'c')]
    assert auto._joined(['a', 'b', 'c'], ['b', 'd']) == [('b', 'b')]
