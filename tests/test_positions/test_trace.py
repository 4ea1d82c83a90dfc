import re

import pytest
import torch
from mmdet.models.backbones import ResNet
from mmpretrain.models.backbones import RepVGG
from torch import nn

from ovkd_mm.positions import ModuleOutput, PreReLU, trace


@pytest.fixture(scope='module')
def resnet():
    return trace(ResNet(18), (64, 64))


@pytest.mark.parametrize(
    ('path', 'nearest'),
    [('layer5', 'layer4'), ('layer2.1.rely', 'layer2.1.relu'), ('layer1.7', 'layer1.1'), ('xyz', 'conv1|layer4')],
)
def test_a_wrong_path_is_answered_with_the_nearest_real_ones(resnet, path, nearest):
    with pytest.raises(ValueError, match=rf"place '{path}' does not exist.*{nearest}"):
        PreReLU(path).resolve(resnet)


def test_a_module_that_is_never_called_is_told_from_one_that_does_not_exist():
    net = nn.ModuleDict(dict(used=nn.Conv2d(3, 4, 1), unused=nn.ReLU()))
    net.forward = lambda x: net['used'](x)
    with pytest.raises(ValueError, match=r"'unused' exists, but the forward never calls it; called nearby: used$"):
        PreReLU('unused').resolve(trace(net, (8, 8)))


def test_a_module_of_several_outputs_is_refused_with_modules_inside_it():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = ResNet(18)

        def forward(self, x):
            return self.backbone(x)

    traced = trace(Net(), (64, 64))
    several = r"'backbone' does not return one tensor, but ResNet returns several; backbone\[0\] to backbone\[3\] are.*"
    with pytest.raises(ValueError, match=rf'{several}layer4$'):
        PreReLU('backbone').resolve(traced)
    assert PreReLU('backbone[1]').resolve(traced).norm == 'backbone.layer2.1.bn2'
    for path, count in (('backbone[4]', 4), ('backbone.layer1[0]', 1)):
        with pytest.raises(
            ValueError, match=rf"place '{re.escape(path)}' does not exist: '.*' returns {count} tensors"
        ):
            PreReLU(path).resolve(traced)
    with pytest.raises(ValueError, match="'bakbone' does not exist; the nearest real ones: ") as error:
        PreReLU('bakbone').resolve(traced)
    proposed = str(error.value).rpartition(': ')[2].split(', ')
    assert len(proposed) == 5
    for path in proposed:
        assert PreReLU(path).resolve(traced)


def test_the_norm_is_the_main_branchs_whichever_side_of_the_sum_it_stands_on_and_whenever_it_was_called():
    class Sum(nn.Module):
        def __init__(self, order):
            super().__init__()
            self.order = order
            self.main = nn.Sequential(
                nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
            )
            self.shortcut = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            out = {name: getattr(self, name)(x) for name in self.order}
            return self.relu(out[self.order[0]] + out[self.order[1]])

    for order in (('main', 'shortcut'), ('shortcut', 'main')):
        assert PreReLU('relu').resolve(trace(Sum(order), (8, 8))).norm == 'main.4'


def test_no_norm_speaks_for_a_sum_of_equal_branches():
    place = PreReLU('stage_2').resolve(trace(RepVGG('A0'), (32, 32)))
    assert place.activated
    assert place.norm is None


def test_a_convolution_or_an_activation_between_hides_the_norm():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Dropout(), nn.Hardtanh())
    traced = trace(net, (8, 8))
    assert PreReLU('1').resolve(traced).norm is None
    assert ModuleOutput('2').resolve(traced).norm is None
    assert ModuleOutput('0').resolve(traced).norm == '0'


def test_a_very_deep_network_is_traced_without_recursion():
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn = nn.BatchNorm2d(3)
            self.other = nn.BatchNorm2d(3)
            self.relu = nn.ReLU()

        def forward(self, x):
            y = self.other(x)
            for _ in range(3000):
                x = x + 1
            return self.relu(self.bn(x) + y)

    assert PreReLU('relu').resolve(trace(Deep(), (2, 2))).norm == 'bn'


def test_a_typing_error_at_the_front_of_a_long_path_is_answered_with_what_is_written_like_it(resnet):
    with pytest.raises(ValueError, match=r'the nearest real ones: .*layer2\.0\.conv1') as error:
        PreReLU('layr2.0.conv1').resolve(resnet)
    assert len(str(error.value).split(': ')[1].split(', ')) == 5
    assert 'stopped early' not in str(error.value)


def test_another_word_for_a_stage_is_answered_with_the_stage_though_half_of_its_letters_differ():
    names = ('layer1', 'pool', 'drop', 'neck', 'fuse', 'head')
    net = nn.Sequential()
    for name in names:
        net.add_module(name, nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match=r'the nearest real ones: layer1$'):
        PreReLU('stage1').resolve(trace(net, (4, 4)))


def test_a_wrong_end_of_a_path_is_answered_with_what_lies_in_its_real_part():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))
    with pytest.raises(ValueError, match=r'the nearest real ones: 1\.0, 1\.1$'):
        PreReLU('1.something').resolve(trace(net, (4, 4)))


def test_the_backbone_is_the_outermost_of_that_name():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.backbone = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            return self.backbone(self.first(x))

    net = nn.Sequential()
    net.add_module('backbone', Outer())
    assert trace(net, (8, 8)).backbone == 'backbone'


def test_a_module_that_returns_one_tensor_in_a_tuple_says_how_to_write_it():
    net = nn.ModuleDict(dict(neck=nn.Conv2d(3, 4, 1), head=nn.ReLU()))
    conv = net['neck'].forward
    net['neck'].forward = lambda x: (conv(x),)
    net.forward = lambda x: net['head'](net['neck'](x)[0])
    traced = trace(net, (8, 8))
    with pytest.raises(ValueError, match=r"'neck' returns no tensor, but a tuple or list of one: write neck\[0\]$"):
        ModuleOutput('neck').resolve(traced)
    assert ModuleOutput('neck[0]').resolve(traced).shape == (4, 8, 8)


class Stops(nn.Module):
    """Asks for what a trace does not have, as two-stage detectors and DETRs do."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Conv2d(3, 4, 1), nn.ReLU()

    def forward(self, x, data_samples=None):
        x = self.backbone(x)
        if not data_samples:
            raise AssertionError
        return self.head(x)


class BaseDetector(Stops):
    """Has the name of mmdet's."""


def test_an_exception_without_a_text_is_told_by_its_line_and_a_detector_why_there_is_one():
    line = rf"stopped early: AssertionError\('{re.escape(__file__)}:\d+'\)"
    with pytest.raises(ValueError, match=rf"'head' exists, but the forward never calls it \(the forward {line}\);"):
        ModuleOutput('head').resolve(trace(Stops(), (8, 8)))
    with pytest.raises(ValueError, match=rf'{line}; a trace has no data samples, .*RoI heads.* cannot be read\)'):
        ModuleOutput('head').resolve(trace(BaseDetector(), (8, 8)))


class Levels(nn.Module):
    """A neck of two maps and a head whose layers both share, or each its own."""

    def __init__(self):
        super().__init__()
        self.neck, self.head, self.act = nn.Identity(), nn.Conv2d(3, 6, 1), nn.ReLU()
        self.own = nn.ModuleList([nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 1)])
        self.neck.forward = lambda x: (x, x[:, :, ::2, ::2])

    def forward(self, x):
        maps = self.neck(x)
        return [self.act(self.head(one)) for one in maps], [own(one) for own, one in zip(self.own, maps, strict=True)]


def test_a_layer_that_several_sizes_share_is_refused_and_one_for_each_size_is_not():
    traced = trace(Levels(), (8, 12))
    message = (
        r"place 'head' is called 2 times in one forward, with outputs of 8x12, 4x6, and only the last would be read: "
        r'list pairs of places that are called once for each size, such as neck\[0\] to neck\[1\]$'
    )
    for position in (ModuleOutput, PreReLU):
        with pytest.raises(ValueError, match=message):
            position('head').resolve(traced)
    for name, size in {'own.0': (8, 12), 'own.1': (4, 6), 'neck[0]': (8, 12), 'act': (4, 6)}.items():
        assert ModuleOutput(name).resolve(traced).size == size


class SharedBlock(nn.Module):
    """A block that two levels share, as in FCOS' head, and a module that calls one activation at two sizes."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6), nn.ReLU())
        self.stage = nn.ModuleDict(dict(conv=nn.Conv2d(6, 6, 3, 2, 1), relu=nn.ReLU()))

    def forward(self, x):
        maps = [self.block(one) for one in (x, x[:, :, ::2, ::2])]
        return maps, self.stage['relu'](self.stage['conv'](self.stage['relu'](maps[0])))


def test_a_part_of_what_several_sizes_share_is_refused_too():
    traced = trace(SharedBlock(), (8, 12))
    for part in ('block', 'block.1', 'block.2'):
        with pytest.raises(ValueError, match=f"place '{part}' is called 2 times .* outputs of 8x12, 4x6"):
            ModuleOutput(part).resolve(traced)
    assert ModuleOutput('stage.relu').resolve(traced).size == (4, 6)


class Regrouped(nn.Module):
    def __init__(self, regroup):
        super().__init__()
        self.norm, self.relu, self.regroup = nn.BatchNorm2d(4), nn.ReLU(), regroup

    def forward(self, x):
        return self.relu(self.regroup(self.norm(x.repeat(1, 2, 1, 1)[:, :4])))


@pytest.mark.parametrize(
    ('regroup', 'norm'),
    [
        (lambda y: 2 * y + 1, 'norm'),
        (lambda y: torch.cat([y, -y], 1), None),  # CReLU
        (lambda y: y[:, :2], None),
        (lambda y: y.flip(1), None),
        (lambda y: y[:, [1, 0, 3, 2]], None),
    ],
)
def test_a_norm_feeds_a_place_only_channel_by_channel(regroup, norm):
    assert PreReLU('relu').resolve(trace(Regrouped(regroup), (8, 8))).norm == norm


class LayerNorm2d(nn.LayerNorm):
    """Of maps whose channels come first, as in ConvNeXt."""

    def __init__(self, channels, contiguous):
        super().__init__(channels)
        self.contiguous = contiguous

    def forward(self, x):
        x = super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x.contiguous() if self.contiguous else x


@pytest.mark.parametrize('contiguous', [True, False])
@pytest.mark.parametrize('channels', [16, 24])
def test_a_layer_norm_that_puts_channels_back_is_not_read_as_if_they_came_last(channels, contiguous):
    net = nn.Sequential(nn.Conv2d(3, channels, 2, 2), LayerNorm2d(channels, contiguous))  # 16 maps of 16x16
    assert ModuleOutput('1').resolve(trace(net, (32, 32))).layout.order == 'NCHW'


class Residual(nn.Module):
    """A sum of maps with the channels last, as in torchvision's Swin; with ``back``, they are put first again."""

    def __init__(self, back):
        super().__init__()
        self.stem, self.linear, self.back = nn.Conv2d(3, 16, 2, 2), nn.Linear(16, 16), back

    def forward(self, x):
        x = self.stem(x).permute(0, 2, 3, 1)
        x = x + 0.5 * self.linear(x)
        return x.permute(0, 3, 1, 2) if self.back else x


@pytest.mark.parametrize('back', [False, True])
def test_a_sum_is_laid_out_as_what_it_sums(back):
    assert ModuleOutput('').resolve(trace(Residual(back), (32, 32))).layout.order == ('NCHW' if back else 'NHWC')


def test_a_gate_of_linear_layers_leaves_maps_as_they_are():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.gate = nn.Conv2d(3, 16, 2, 2), nn.Linear(16, 16)

        def forward(self, x):
            x = self.stem(x)
            return x * self.gate(x.mean((2, 3))).sigmoid()[..., None, None]

    assert ModuleOutput('').resolve(trace(Gated(), (32, 32))).layout.order == 'NCHW'
