"""Taps on the toolkits' own networks against forwards written by hand, and the student undisturbed by them."""

import copy

import pytest
import torch
from mmdet.models.backbones import SSDVGG, ResNet
from mmseg.models.backbones import MobileNetV2
from torch import nn

from ovkd_mm.models import MobileNetV1
from ovkd_mm.positions import GroupEnds, ModuleOutput, PreReLU, SpanTap, Tap, reading, tap_at, trace

SIZE = (64, 64)


def resnet(depth, **kwargs):
    return ResNet(depth, norm_eval=False, out_indices=(0, 1, 2, 3), **kwargs)


NETWORKS = {
    'resnet18': (lambda **kw: resnet(18, **kw), ['layer1', 'layer2', 'layer3', 'layer4']),
    'resnet50': (lambda **kw: resnet(50, **kw), ['layer1', 'layer2', 'layer3', 'layer4']),
    'vgg16': (lambda: SSDVGG(16), ['features.15', 'features.22', 'features.34']),
    'mobilenet-v1': (MobileNetV1, ['layer2', 'layer3', 'layer4', 'layer5']),
    'mobilenet-v2': (lambda **kw: MobileNetV2(**kw), ['layer2', 'layer3', 'layer5', 'layer7']),
}


def resnet_by_hand(net, x):
    x = net.maxpool(torch.relu(net.bn1(net.conv1(x))))
    for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
        for block in layer:
            out = torch.relu(block.bn1(block.conv1(x)))
            out = block.bn2(block.conv2(out))
            if hasattr(block, 'conv3'):
                out = block.bn3(block.conv3(torch.relu(out)))
            out = out + (x if block.downsample is None else block.downsample(x))
            x = torch.relu(out)
        yield out


def vgg_by_hand(net, x):
    for index, layer in enumerate(net.features):
        if index in (15, 22, 34):
            yield x
        x = torch.relu(x) if isinstance(layer, nn.ReLU) else layer(x)


def mobilenet_v1_by_hand(net, x):
    for stage in [child for name, child in net.named_children() if name.startswith('layer')]:
        for module in stage.modules():
            if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
                x = module(x)
            elif isinstance(module, nn.ReLU):
                before, x = x, torch.relu(x)
        yield before


def mobilenet_v2_by_hand(net, x):
    def conv_module(module, x):
        before = module.bn(module.conv(x))
        return before, (before.clamp(0, 6) if module.with_activation else before)

    _, x = conv_module(net.conv1, x)
    for stage in range(1, 8):
        for index, block in enumerate(getattr(net, f'layer{stage}')):
            out = x
            for step, module in enumerate(block.conv):
                before, out = conv_module(module, out)
                if index == step == 0 and stage in (3, 4, 6):
                    yield before  # the expansion that opens the stage after 2, 3, 5
            x = x + out if block.use_res_connect else out
    yield x


BY_HAND = {
    'resnet18': resnet_by_hand,
    'resnet50': resnet_by_hand,
    'vgg16': vgg_by_hand,
    'mobilenet-v1': lambda net, x: list(mobilenet_v1_by_hand(net, x))[-4:],
    'mobilenet-v2': mobilenet_v2_by_hand,
}


def make(name, **kwargs):
    build, paths = NETWORKS[name]
    torch.manual_seed(0)
    net = build(**kwargs)
    net.train()  # returns nothing in some toolkits
    return net, paths


def taps_of(net, paths):
    traced = trace(net, SIZE)
    return [Tap(PreReLU(path).resolve(traced)) for path in paths]


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('name', NETWORKS)
def test_taps_read_what_a_forward_by_hand_computes(name, training):
    net, paths = make(name)
    taps = taps_of(net, paths)
    net.train(training)
    other = copy.deepcopy(net)
    inputs = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        expected = list(BY_HAND[name](other, inputs))
        with reading(net, taps):
            net(inputs)
            read = [tap.take() for tap in taps]
    assert len(expected) == len(read)
    for one, two in zip(read, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)
    assert any((one < 0).any() for one in read)


def run(net, inputs, taps=None):
    """Outputs, gradients and buffers after one step of a loss on all outputs."""
    torch.manual_seed(1)
    features = 0
    if taps is None:
        outputs = net(inputs)
    else:
        with reading(net, taps):
            outputs = net(inputs)
            features = sum(0 * tap.take().square().sum() for tap in taps)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    (sum(output.square().mean() for output in outputs) + features).backward()
    return [*outputs, *(p.grad for p in net.parameters() if p.grad is not None), *net.buffers()]


def out_of_place(net):
    for module in net.modules():
        if hasattr(module, 'inplace'):
            module.inplace = False
    return net


VARIANTS = [(name, inplace, cp) for name in NETWORKS for inplace in (True, False) for cp in (False, True)]
VARIANTS = [variant for variant in VARIANTS if variant[0] != 'vgg16' or not variant[2]]  # mmcv's VGG has no with_cp


@pytest.mark.filterwarnings('ignore:.*use_reentrant')
@pytest.mark.parametrize(('name', 'inplace', 'with_cp'), VARIANTS)
def test_taps_with_weight_zero_leave_outputs_and_gradients_bit_identical(name, inplace, with_cp):
    net, paths = make(name, **(dict(with_cp=True) if with_cp else {}))
    net = net if inplace else out_of_place(net)
    plain = copy.deepcopy(net)
    taps = taps_of(net, paths)
    inputs = torch.randn(2, 3, *SIZE)
    expected, got = run(plain, inputs), run(net, inputs, taps)
    assert len(expected) == len(got)
    assert all(torch.equal(one, two) for one, two in zip(expected, got, strict=True))


@pytest.mark.filterwarnings('ignore:.*use_reentrant')
def test_the_replay_of_a_checkpointed_block_does_not_overwrite_what_was_read():
    net, _ = make('resnet18', with_cp=True)
    block_input = 'layer1.1.conv2'  # inside a checkpointed block
    traced = trace(net, SIZE)
    tap = Tap(PreReLU(block_input).resolve(traced))
    calls = []
    net.layer1[1].conv2.register_forward_pre_hook(lambda *_: calls.append(tap.feature is None))
    inputs = torch.randn(2, 3, *SIZE, requires_grad=True)
    with reading(net, [tap]):
        outputs = net(inputs)
        read = tap.take()
        kept = read.clone()
        outputs[0].sum().backward()
        assert len(calls) == 2  # forward and replay
        assert tap.take() is read
        assert torch.equal(read, kept)


def test_taps_read_nothing_and_hold_nothing_outside_the_block():
    net, paths = make('resnet18')
    taps = taps_of(net, paths)
    with reading(net, taps):
        net(torch.randn(1, 3, *SIZE))
    net(torch.randn(1, 3, *SIZE))
    assert all(tap.feature is None for tap in taps)


def test_a_tap_moves_along_when_its_module_is_replaced():
    net, _ = make('resnet18')
    (tap,) = taps_of(net, ['layer4'])
    with reading(net, [tap]):
        net(torch.randn(1, 3, *SIZE))
    net.layer4[1].relu = nn.ReLU(inplace=True)
    with reading(net, [tap]):
        net(torch.randn(1, 3, *SIZE))
        assert tap.take().shape == (1, 512, 2, 2)


def test_a_forward_that_never_passes_a_tap_is_an_error():
    net, _ = make('resnet18')
    (tap,) = taps_of(net, ['layer4'])
    with reading(net, [tap]), pytest.raises(RuntimeError, match='layer4'):
        tap.take()


@pytest.mark.parametrize('dropout', [nn.Dropout(0.5, inplace=True), nn.Dropout2d(0.5, inplace=True)])
def test_dropout_in_place_after_a_tap_does_not_change_what_it_read(dropout):
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), dropout, nn.Conv2d(8, 8, 1)).train()
    tap = Tap(ModuleOutput('2').resolve(trace(net, (8, 8))))
    assert dropout.training
    inputs = torch.randn(4, 3, 8, 8)
    with reading(net, [tap]):
        net(inputs)
        torch.testing.assert_close(tap.take(), torch.relu(net[1](net[0](inputs))))


def test_what_a_forward_of_no_concern_computes_is_not_kept():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    tap = Tap(ModuleOutput('0').resolve(trace(net, (4, 4))))
    assert tap.feature is None
    with reading(net, [tap]):
        pass
    net(torch.randn(1, 3, 4, 4))
    assert tap.feature is None


@pytest.mark.parametrize(('position', 'kind', 'times'), [(PreReLU, Tap, 1), (GroupEnds, SpanTap, 2)])
def test_whoever_waits_for_a_place_is_told_after_each_tensor_that_was_read(position, kind, times):
    net, told = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), []
    tap = tap_at(position('0').resolve(trace(net, (4, 4))), then=lambda: told.append(tap.feature is not None))
    assert type(tap) is kind
    with reading(net, [tap]):
        net(torch.randn(1, 3, 4, 4))
    assert len(told) == times and told[-1]


def test_a_module_gets_all_its_inputs_where_the_first_is_kept_from_being_overwritten():
    class Add(nn.ReLU):
        def forward(self, x, shift, factor):
            return super().forward(x) + factor * shift

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.add = nn.Conv2d(3, 4, 1), Add(inplace=True)

        def forward(self, x):
            return self.add(self.conv(x), 2, 3)

    net, inputs = Net(), torch.randn(1, 3, 4, 4)
    place = PreReLU('conv').resolve(trace(net, (4, 4)))
    assert place.side == 'input' and place.overwritten
    expected = net(inputs)
    with reading(net, [Tap(place)]):
        assert torch.equal(net(inputs), expected)


class Pyramid(nn.Module):
    """A backbone that returns two maps, of which it changes one afterwards."""

    def __init__(self, kind, inplace):
        super().__init__()
        self.backbone, self.kind, self.inplace = nn.Identity(), kind, inplace
        self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1, 2)
        self.backbone.forward = lambda x: kind([self.one(x), self.two(self.one(x))])

    def forward(self, x):
        one, two = self.backbone(x)
        return (one.mul_(0) if self.inplace else one).sum() + two.sum()


@pytest.mark.parametrize('kind', [list, tuple])
@pytest.mark.parametrize('inplace', [False, True])
def test_one_of_the_tensors_that_a_module_returns_is_read_by_its_number(kind, inplace):
    net, inputs = Pyramid(kind, inplace), torch.randn(2, 3, 4, 4)
    traced = trace(net, (4, 4))
    places = [ModuleOutput(f'backbone[{i}]').resolve(traced) for i in (0, 1)]
    assert [place.shape for place in places] == [(4, 4, 4), (5, 2, 2)]
    assert [place.overwritten for place in places] == [inplace, False]
    assert str(places[1]) == 'backbone[1] 5x2x2 (output 1 of backbone, call 0)'
    expected = net(inputs)
    taps = [Tap(place) for place in places]
    with reading(net, taps):
        assert torch.equal(net(inputs), expected)
        assert torch.equal(taps[0].take(), net.one(inputs))
        assert torch.equal(taps[1].take(), net.two(net.one(inputs)))


def test_tokens_are_read_as_a_map_without_those_that_have_no_position():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.norm = nn.Conv2d(3, 6, 2, 2), nn.LayerNorm(6)
            self.token = nn.Parameter(torch.randn(1, 1, 6))

        def forward(self, x):
            tokens = self.patches(x).flatten(2).transpose(1, 2)
            return self.norm(torch.cat([self.token.expand(len(x), -1, -1), tokens], 1))

    net, inputs = Tokens(), torch.randn(2, 3, 8, 16)
    place = ModuleOutput('norm').resolve(trace(net, (8, 16)))
    assert place.shape == (6, 4, 8)
    tap = Tap(place)
    with reading(net, [tap]):
        net(inputs)
        expected = nn.functional.layer_norm(net.patches(inputs).permute(0, 2, 3, 1), (6,)).permute(0, 3, 1, 2)
        torch.testing.assert_close(tap.take(), expected)
    inputs = torch.randn(2, 3, 16, 8)  # as many tokens in another grid
    with reading(net, [tap]):
        net(inputs)
        expected = nn.functional.layer_norm(net.patches(inputs).permute(0, 2, 3, 1), (6,)).permute(0, 3, 1, 2)
        torch.testing.assert_close(tap.take(inputs.shape[2:]), expected)


def test_a_backbone_that_returns_fewer_tensors_than_when_it_was_traced_is_an_error_that_names_the_place():
    class Returning(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.count = nn.Conv2d(3, 4, 1), 2

        def forward(self, x):
            return (self.conv(x),) * self.count

    net = Returning()
    net = nn.ModuleDict(dict(backbone=net))
    net.forward = lambda x: net['backbone'](x)
    one = tap_at(ModuleOutput('backbone[1]').resolve(trace(net, (8, 8))))
    net['backbone'].count = 1
    with pytest.raises(RuntimeError, match=r'backbone\[1\].*returned 1 tensor'), reading(net, [one]):
        net(torch.zeros(1, 3, 8, 8))


def test_an_input_that_is_handed_over_by_its_name_is_read_and_kept_from_what_writes_into_it():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True)

        def forward(self, x):
            return self.act(input=self.conv(x))

    net, images = Named(), torch.randn(2, 3, 8, 8)
    place = PreReLU('act').resolve(trace(net, (8, 8)))
    with reading(net, [tap := tap_at(place)]):
        out = net(images)
        feature = tap.take()
    torch.testing.assert_close(feature, net.conv(images))
    torch.testing.assert_close(out, feature.relu())


def test_a_place_at_an_input_is_the_tensor_that_the_trace_recorded_not_one_in_a_list():
    class Joins(nn.Module):
        def forward(self, skips, x):
            return x + skips[0]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.joins = nn.Conv2d(3, 3, 1), Joins()

        def forward(self, x):
            self.right = 2 * self.conv(x)
            return self.joins([x], self.right)

    net = Net()
    found = trace(net, (4, 4))
    tap = tap_at(found.place('joins', found.last_call('joins'), 'input'))
    with reading(net, [tap]):
        net(torch.randn(1, 3, 4, 4))
        assert tap.take() is net.right
