"""Where the paper's position lies in each kind of network; the networks themselves are run in test_tap.py."""

import pytest
from mmdet.models.backbones import ResNet
from mmseg.models.backbones import MobileNetV2
from torch import nn
from torch.nn import functional as F  # noqa: N812

from ovkd_mm.positions import EndOfGroup, PreReLU, trace


class PreActivationBlock(nn.Module):
    """WideResNet: batch norm and ReLU come first, the sum comes out bare."""

    def __init__(self, channels, stride=1):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(channels, channels, 3, stride, 1)
        self.stride = stride

    def forward(self, x):
        out = self.conv(self.relu(self.bn(x)))
        return out + (x[..., ::2, ::2] if self.stride == 2 else x)


class PyramidBlock(PreActivationBlock):
    """PyramidNet: a batch norm opens the block, no ReLU follows at that size."""

    def forward(self, x):
        return self.relu(self.conv(self.bn(x)))


def place(net, path, size=(16, 16)):
    return PreReLU(path).resolve(trace(net, size))


def test_a_residual_stage_ends_in_the_last_call_of_its_shared_relu():
    for depth, call, norm in ((18, 1, 'layer2.1.bn2'), (50, 2, 'layer2.3.bn3')):
        found = place(ResNet(depth), 'layer2', (64, 64))
        assert (found.path, found.call, found.side) == (f'{norm.rpartition(".")[0]}.relu', call, 'input')
        assert found.norm == norm
        assert found.overwritten and found.activated


@pytest.mark.parametrize('norm', [nn.GroupNorm(2, 4), nn.GroupNorm(1, 4), nn.InstanceNorm2d(4, affine=True)])
def test_only_a_batch_norm_is_taken_for_the_margins(norm):
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), norm, nn.ReLU())
    assert place(net, '2').norm is None
    net[1] = nn.BatchNorm2d(4)
    assert place(net, '2').norm == '1'


def test_a_stage_of_one_block_takes_the_main_branchs_norm_not_the_shortcuts():
    net = ResNet(18)
    net.layer3 = nn.Sequential(net.layer3[0])
    assert place(net, 'layer3', (64, 64)).norm == 'layer3.0.bn2'


def test_a_pre_activation_stage_is_read_at_the_norm_that_opens_the_next():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), PreActivationBlock(4), PreActivationBlock(4, stride=2))
    found = place(net, '1')
    assert (found.path, found.side, found.norm, found.size) == ('2.relu', 'input', '2.bn', (16, 16))


@pytest.mark.parametrize(
    ('stage', 'channels'), [('layer2', 144), ('layer3', 192), ('layer4', 384), ('layer5', 576), ('layer7', 320)]
)
def test_a_linear_bottleneck_is_read_at_the_expansion_that_opens_the_next_stage(stage, channels):
    found = place(MobileNetV2(), stage, (64, 64))
    assert found.channels == channels
    assert found.norm.startswith('layer7' if stage == 'layer7' else f'layer{int(stage[-1]) + 1}.0')


def test_a_strided_pyramid_block_is_read_at_the_norm_that_reads_the_group():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), PyramidBlock(4, stride=2))
    found = place(net, '1')
    assert (found.path, found.side, found.norm) == ('2.bn', 'output', '2.bn')


def test_a_group_that_nothing_follows_is_read_at_its_own_output():
    found = place(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), '1')
    assert (found.path, found.side, found.norm) == ('1', 'output', '1')
    assert not found.activated


def test_a_convolution_and_its_in_place_relu_name_the_same_place():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, 2))
    assert place(net, '0').path == place(net, '1').path == '1'
    assert place(net, '0').norm is None


def test_an_activation_of_the_same_size_in_another_branch_is_not_the_groups():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.relu = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.ReLU()

        def forward(self, x):
            one = self.one(x)
            return F.max_pool2d(one, 2), self.relu(self.two(x))

    assert place(Branches(), 'one').path == 'one'


def test_a_relu_called_at_several_places_is_told_by_its_call():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(3))
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            for conv in self.convs:
                x = self.relu(conv(x))
            return x

    traced = trace(Shared(), (4, 4))
    assert [PreReLU(f'convs.{i}').resolve(traced).call for i in range(3)] == [0, 1, 2]


class Detector(nn.Module):
    """Layers in parts: a backbone, and a head that reads it."""

    def __init__(self, *backbone, head=None):
        super().__init__()
        self.backbone, self.head = nn.Sequential(*backbone), nn.Sequential(*(head or [nn.ReLU()]))

    def forward(self, x):
        return self.head(self.backbone(x))


def conv():
    return nn.Conv2d(3, 3, 1)


def test_the_activation_lies_in_the_part_of_the_group_at_most_one_layer_on():
    assert place(Detector(conv()), 'backbone.0').path == 'backbone.0'
    assert place(Detector(conv(), nn.BatchNorm2d(3), conv(), nn.ReLU()), 'backbone.0').path == 'backbone.3'
    assert place(Detector(conv(), conv(), conv(), nn.ReLU()), 'backbone.0').path == 'backbone.0'
    assert place(Detector(conv(), head=(conv(), nn.ReLU())), 'head.0').path == 'head.1'


def test_of_several_branches_that_read_the_group_none_stands_for_it():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.one, self.two, self.relu = conv(), conv(), conv(), nn.ReLU()

        def forward(self, x):
            x = self.stem(x)
            return self.relu(self.one(x)) + self.two(x)

    assert (place(Branches(), 'stem').path, place(Branches(), 'one').path) == ('stem', 'relu')


def test_an_activation_inside_a_residual_branch_does_not_stand_for_what_the_shortcut_carries_past_it():
    class Residual(nn.Sequential):
        def forward(self, x):
            return super().forward(x) + x

    branch = conv(), nn.BatchNorm2d(3), nn.ReLU(), conv()
    assert place(Detector(conv(), nn.Sequential(*branch)), 'backbone.0').path == 'backbone.1.2'
    assert place(Detector(conv(), Residual(*branch)), 'backbone.0').path == 'backbone.0'
    assert place(Detector(conv(), nn.Sequential(Residual(*branch), conv())), 'backbone.0').path == 'backbone.0'


def test_a_shortcut_that_pools_leads_around_nothing_of_the_groups_size():
    """As in the strided bottlenecks of PyramidNet-200, where the authors read the batch norm behind a convolution."""

    class Strided(nn.Sequential):
        def forward(self, x):
            return super().forward(x) + F.avg_pool2d(x, 2)

    branch = conv(), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 3, 2, 1)
    assert place(Detector(conv(), Strided(*branch)), 'backbone.0').path == 'backbone.1.2'
    assert place(Detector(conv(), nn.Sequential(Strided(*branch), conv())), 'backbone.0').path == 'backbone.1.0.2'


def test_the_batch_norm_is_found_behind_an_identity_and_around_its_activation():
    class Fused(nn.BatchNorm2d):
        """As timm's BatchNormAct2d."""

        def __init__(self, channels):
            super().__init__(channels)
            self.drop, self.act = nn.Identity(), nn.ReLU(inplace=True)

        def forward(self, x):
            return self.act(self.drop(super().forward(x)))

    behind = place(nn.Sequential(conv(), nn.BatchNorm2d(3), nn.Identity(), nn.ReLU()), '0')
    assert (behind.path, behind.norm) == ('3', '1')
    around = place(nn.Sequential(conv(), Fused(3)), '1')
    assert (around.path, around.side, around.norm) == ('1.act', 'input', '1')


class WithFunction(nn.Module):
    """As torchvision's Inception: the activation is a function."""

    def __init__(self, function, shortcut=False):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.function, self.shortcut = function, shortcut

    def forward(self, x):
        out = self.bn(self.conv(x))
        return self.function(out + x if self.shortcut else out)


@pytest.mark.parametrize('function', [F.relu, F.relu6, F.leaky_relu, F.silu, F.gelu, F.relu_])
def test_a_group_that_ends_in_a_function_is_read_before_it_where_a_module_returns_that(function):
    # The ReLU that follows is the next layer's, at the same size.
    net = nn.Sequential(WithFunction(function), nn.Conv2d(3, 3, 1), nn.ReLU())
    found = place(net, '0')
    assert (found.path, found.side, found.norm, found.activated) == ('0.bn', 'output', '0.bn', True)
    after = EndOfGroup('0').resolve(trace(net, (16, 16)))
    assert (after.path, after.side) == ('0', 'output')


def test_a_sum_that_only_a_function_reads_is_read_after_it_and_no_batch_norm_tells_its_margins():
    found = place(nn.Sequential(WithFunction(F.relu, shortcut=True)), '0')
    assert (found.path, found.side, found.norm, found.activated) == ('0', 'output', None, True)


def test_a_batch_norm_that_a_function_follows_is_where_the_group_before_is_read():
    class Opens(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn, self.conv, self.project = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.conv(F.relu(self.bn(x))) + self.project(x)

    found = place(nn.Sequential(nn.Conv2d(3, 3, 1), Opens()), '0')
    assert (found.path, found.side, found.activated) == ('1.bn', 'output', True)


def test_a_batch_norm_in_one_of_two_branches_does_not_stand_for_the_group_before_them():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.conv(x) + self.bn(x)

    found = place(nn.Sequential(nn.Conv2d(3, 3, 1), Branches()), '0')
    assert (found.path, found.side, found.activated) == ('0', 'output', False)


class ThenFunction(nn.Module):
    """DenseNet: a function reads what the last part returns; with ``also``, a sum does, too (FCOS)."""

    def __init__(self, also):
        super().__init__()
        self.features, self.also = nn.Sequential(conv(), nn.BatchNorm2d(3)), also

    def forward(self, x):
        out = self.features(x)
        return F.relu(out) + (out if self.also else 0)


def test_a_group_that_only_a_function_reads_is_activated():
    found = place(ThenFunction(also=False), 'features')
    assert (found.path, found.norm, found.activated) == ('features', 'features.1', True)
    assert not place(ThenFunction(also=True), 'features').activated
