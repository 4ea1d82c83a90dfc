import copy
import gc
import random
import weakref
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmdet.models.backbones import ResNet
from mmdet.models.backbones.csp_darknet import Focus
from mmengine.model import ImgDataPreprocessor
from torch import nn

from ovkd_mm.positions import ModuleOutput, PreReLU, trace


def test_a_trace_leaves_weights_statistics_modes_and_generators_as_found():
    net = ResNet(18, frozen_stages=1, norm_eval=True, with_cp=True)
    net.train()
    net.layer2[0].bn1.eval()
    state = copy.deepcopy(net.state_dict())
    modes = [module.training for module in net.modules()]
    flags = [parameter.requires_grad for parameter in net.parameters()]
    generators = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    trace(net, (64, 64))
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert modes == [module.training for module in net.modules()]
    assert flags == [parameter.requires_grad for parameter in net.parameters()]
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(block.with_cp for block in net.layer1)
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert (np.random.get_state()[1] == generators[1]).all()
    assert random.getstate() == generators[2]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_a_net_that_draws_random_numbers_while_traced_leaves_the_generators_too():
    class Noisy(nn.Sequential):
        def forward(self, x):
            np.random.rand()
            return super().forward(x + torch.rand_like(x))

    net = Noisy(nn.Conv2d(3, 4, 1), nn.ReLU())
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    trace(net, (8, 8))
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()


def test_a_model_that_returns_more_in_training_is_seen_as_it_trains_with_its_layers_in_evaluation():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU())
            self.backbone.forward = lambda x: self.maps(x)

        def maps(self, x):
            for layer in self.backbone:
                x = layer(x)
            return [x, x * 2] if self.backbone.training else x

        def forward(self, x):
            return self.backbone(x)

    net = Auxiliary().train()
    state = copy.deepcopy(net.state_dict())
    seen = trace(net, (8, 8), training=True)
    assert len(seen.last_call('backbone[1]').outputs) == 2
    assert PreReLU('backbone.3').resolve(seen).norm == 'backbone.1'  # no dropout in between
    assert trace(net, (8, 8)).last_call('backbone').output
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert all(module.training for module in net.modules())


def test_a_forward_that_fails_half_way_keeps_what_came_before_and_its_error_is_told():
    class TwoStage(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
            self.head = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            x = self.backbone(x)
            raise TypeError('needs proposals')

    traced = trace(TwoStage(), (8, 8))
    assert PreReLU('backbone').resolve(traced).path == 'backbone.1'
    with pytest.raises(ValueError, match='needs proposals'):
        PreReLU('head').resolve(traced)


@pytest.mark.parametrize('fails', [False, True])
def test_of_a_forward_that_fails_at_once_extract_feat_is_run(fails):
    class AsksForSamples(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
            self.neck = nn.ReLU()

        def extract_feat(self, x):
            x = self.backbone(x)
            if fails:
                raise KeyError('no neck')
            return self.neck(x)

        def forward(self, x, data_samples=None):
            return self.extract_feat(data_samples * x)

    traced = trace(AsksForSamples(), (8, 8))
    assert PreReLU('backbone').resolve(traced).path == 'backbone.1'
    with pytest.raises(ValueError, match=r'unsupported operand'):
        PreReLU('head').resolve(traced)


def test_a_forward_that_fails_is_let_go_with_its_tensors_when_its_trace_is():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            x = self.conv(x)
            try:
                raise KeyError('data_samples')
            except KeyError:
                raise ValueError('no data samples') from None

    gc.collect()
    gc.disable()
    try:
        traced = trace(Fails(), (2, 2))
        tensor = weakref.ref(traced.calls[-1].output.tensor)
        assert tensor() is not None and 'no data samples' in repr(traced.error)
        del traced
        assert tensor() is None
    finally:
        gc.enable()


def test_a_model_is_traced_with_one_image_of_its_own_precision():
    net, seen = nn.Sequential(nn.Conv2d(3, 4, 1)).double(), []
    net.register_forward_pre_hook(lambda module, args: seen.extend(args))
    assert ModuleOutput('0').resolve(trace(net, (4, 6))).shape == (4, 4, 6)
    assert seen[0].shape == (1, 3, 4, 6) and seen[0].dtype == torch.float64


@pytest.mark.parametrize(
    'layer',
    [nn.InstanceNorm2d(3, affine=True, track_running_stats=True), nn.utils.spectral_norm(nn.Conv2d(3, 3, 1))],
    ids=['instance norm', 'spectral norm'],
)
def test_buffers_that_a_layer_writes_in_training_are_as_found_and_its_own(layer):
    net = nn.Sequential(layer, nn.ReLU()).train()
    buffers, values = dict(net.named_buffers()), copy.deepcopy(dict(net.named_buffers()))
    trace(net, (4, 4), training=True)
    assert buffers and all(value is buffers[name] for name, value in net.named_buffers())
    assert all(torch.equal(value, values[name]) for name, value in net.named_buffers())


def traced_channels(net, backbone=True, **preprocessor):
    model = nn.Sequential(OrderedDict({'backbone' if backbone else 'net': net}))
    if preprocessor:
        model.data_preprocessor = ImgDataPreprocessor(**preprocessor)
    seen = []
    model.register_forward_pre_hook(lambda module, args: seen.extend(args))
    trace(model, (8, 8))
    return seen[0].shape[1]


@pytest.mark.parametrize('backbone', [True, False])
@pytest.mark.parametrize('channels', [1, 3, 4, 6])
def test_without_a_mean_an_image_has_the_channels_that_the_first_convolution_takes(channels, backbone):
    net = nn.Sequential(nn.ReLU(), nn.Conv2d(channels, 8, 3), nn.Conv2d(8, 5, 3))
    assert traced_channels(net, backbone) == channels
    assert traced_channels(net, backbone, pad_size_divisor=4) == channels
    assert traced_channels(nn.Conv2d(channels, channels, 3, groups=channels), backbone) == channels


def test_with_a_mean_an_image_has_its_channels_whatever_the_convolutions_take():
    assert traced_channels(nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(3, 8, 3)), mean=[1], std=[1]) == 1
    assert traced_channels(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), mean=[1], std=[1]) == 1


def test_one_mean_of_all_channels_does_not_make_an_image_gray():
    assert traced_channels(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)), mean=[1], std=[1]) == 3


@pytest.mark.parametrize(
    'net',
    [
        # The order of registration is not that of the forward.
        nn.ModuleDict(dict(late=nn.Conv2d(8, 8, 1), stem=nn.Conv2d(3, 8, 1))),
        nn.Sequential(Focus(3, 8)),
        nn.Sequential(nn.Flatten(), nn.Linear(192, 4)),
    ],
    ids=['stem later', 'pixels folded into channels', 'no convolution'],
)
def test_where_the_first_convolution_does_not_tell_an_image_has_three_channels(net):
    assert traced_channels(net) == 3
