import pytest
import torch
from classifiers_by_hand import ByHand, randomise
from mmengine.registry import MODELS as ROOT

from ovkd_mm.models import WideResNet
from ovkd_mm.positions import PreReLU, Tap, reading, trace


@pytest.mark.parametrize(
    ('depth', 'width', 'paper'), [(28, 4, 5.87e6), (16, 4, 2.77e6), (28, 2, 1.47e6), (16, 2, 0.70e6)]
)
def test_with_a_classifier_of_100_classes_it_has_the_papers_parameters(depth, width, paper):
    parameters = sum(parameter.numel() for parameter in WideResNet(depth, width).parameters())
    assert parameters + 64 * width * 100 + 100 == pytest.approx(paper, rel=0.01)


@pytest.mark.parametrize(('depth', 'width'), [(16, 2), (10, 1)])
def test_its_output_and_the_features_at_the_papers_places_are_those_found_by_hand(depth, width):
    model = WideResNet(depth, width).eval()
    randomise(model)
    images = torch.randn(2, 3, 16, 16)
    features, output = ByHand(model.state_dict()).wide_resnet(images.double(), depth, width)
    traced = trace(model, (16, 16))
    taps = [Tap(PreReLU(f'layer{group}').resolve(traced)) for group in (1, 2, 3)]
    with reading(model, taps):
        (out,) = model(images)
        read = [tap.take() for tap in taps]
    torch.testing.assert_close(out.double(), output, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(read, features, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)
        assert theirs.min() < 0
    assert [tap.place.norm for tap in taps] == ['layer2.0.bn1', 'layer3.0.bn1', 'bn']


def test_its_groups_have_the_size_and_channels_that_the_docstring_says():
    traced = trace(WideResNet(10, 3), (32, 32))
    shapes = [PreReLU(f'layer{group}').resolve(traced).shape for group in (1, 2, 3)]
    assert shapes == [(48, 32, 32), (96, 16, 16), (192, 8, 8)]


def test_every_weight_learns():
    model = WideResNet(10, 2)
    model(torch.randn(2, 3, 16, 16))[0].square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_initialization_is_kaimings():
    model = WideResNet(10, 4)
    with torch.no_grad():
        model.layer3[0].conv2.weight.fill_(7)
        model.bn.weight.fill_(7)
    model.init_weights()
    # By the outputs, as in its authors' code: 256 channels of 3x3.
    assert model.layer3[0].conv2.weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)
    assert (model.bn.weight == 1).all()


@pytest.mark.parametrize(('depth', 'width', 'key'), [(4, 1, 'depth'), (20, 1, 'depth'), (10, 0, 'width')])
def test_a_network_that_does_not_exist_is_refused_by_name(depth, width, key):
    with pytest.raises(ValueError, match=f'{key} must be'):
        WideResNet(depth, width)


def test_configs_find_it_by_name():
    assert isinstance(ROOT.build(dict(type='ovkd_mm.WideResNet', depth=10, width=1)), WideResNet)


def test_an_initialization_of_ones_own_takes_the_place_of_kaimings():
    model = WideResNet(10, 1, init_cfg=dict(type='Constant', layer='Conv2d', val=7))
    model.init_weights()
    assert (model.conv1.weight == 7).all()
