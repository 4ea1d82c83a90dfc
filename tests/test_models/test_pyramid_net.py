import pytest
import torch
from classifiers_by_hand import ByHand, randomise
from mmengine.registry import MODELS as ROOT

from ovkd_mm.models import PyramidNet
from ovkd_mm.positions import PreReLU, Tap, reading, trace


@pytest.mark.parametrize(
    ('depth', 'alpha', 'bottleneck', 'paper', 'ends'),
    [(200, 240, True, 26.84e6, (4 * 96, 4 * 176, 4 * 256)), (110, 84, False, 3.91e6, (44, 72, 100))],
)
def test_with_a_classifier_of_100_classes_it_has_the_papers_parameters(depth, alpha, bottleneck, paper, ends):
    model = PyramidNet(depth, alpha, bottleneck)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters + ends[-1] * 100 + 100 == pytest.approx(paper, rel=0.01)
    norms = [model.layer2[0].bn1, model.layer3[0].bn1, model.bn_final]
    assert tuple(norm.num_features for norm in norms) == ends


@pytest.mark.parametrize(
    ('depth', 'bottleneck', 'norms'),
    [
        (20, False, ['layer2.0.bn1', 'layer3.0.bn1', 'bn_final']),
        (29, True, ['layer2.0.bn2', 'layer3.0.bn2', 'bn_final']),
    ],
)
def test_its_output_and_the_features_at_the_papers_places_are_those_found_by_hand(depth, bottleneck, norms):
    model = PyramidNet(depth, 12, bottleneck).eval()
    randomise(model)
    images = torch.randn(2, 3, 16, 16)
    features, output = ByHand(model.state_dict()).pyramid_net(images.double(), depth, bottleneck)
    traced = trace(model, (16, 16))
    taps = [Tap(PreReLU(f'layer{group}').resolve(traced)) for group in (1, 2, 3)]
    with reading(model, taps):
        (out,) = model(images)
        read = [tap.take() for tap in taps]
    torch.testing.assert_close(out.double(), output, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(read, features, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)
        assert theirs.min() < 0
    assert [tap.place.norm for tap in taps] == norms
    assert [tap.place.size for tap in taps] == [(16, 16), (8, 8), (4, 4)]


@pytest.mark.parametrize(('depth', 'bottleneck'), [(20, False), (29, True)])
def test_each_block_is_wider_by_the_same_rounded_step(depth, bottleneck):
    model = PyramidNet(depth, 12, bottleneck)
    widths = [block.bn2.num_features for group in (model.layer1, model.layer2, model.layer3) for block in group]
    # 16 and nine steps of 12 / 9.
    assert widths == [17, 19, 20, 21, 23, 24, 25, 27, 28]


@pytest.mark.parametrize(('depth', 'bottleneck'), [(8, False), (11, True)])
def test_odd_sizes_round_up_in_both_branches(depth, bottleneck):
    model = PyramidNet(depth, 3, bottleneck).eval()
    assert model(torch.randn(1, 3, 9, 7))[0].shape[2:] == (3, 2)


@pytest.mark.parametrize(('depth', 'bottleneck'), [(8, False), (11, True)])
def test_every_weight_learns(depth, bottleneck):
    model = PyramidNet(depth, 3, bottleneck)
    model(torch.randn(2, 3, 16, 16))[0].square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_initialization_is_kaimings():
    model = PyramidNet(8, 300)
    with torch.no_grad():
        model.layer3[0].conv2.weight.fill_(7)
        model.bn_final.weight.fill_(7)
    model.init_weights()
    # By the outputs, as in its authors' code: 316 channels of 3x3.
    assert model.layer3[0].conv2.weight.std().item() == pytest.approx((2 / (316 * 9)) ** 0.5, rel=0.01)
    assert (model.bn_final.weight == 1).all()


@pytest.mark.parametrize(
    ('options', 'key'),
    [
        (dict(depth=2, alpha=3), 'depth'),
        (dict(depth=29, alpha=3), 'depth'),
        (dict(depth=26, alpha=3, bottleneck=True), 'depth'),
        (dict(depth=2, alpha=3, bottleneck=True), 'depth'),
        (dict(depth=8, alpha=0), 'alpha'),
    ],
)
def test_a_network_that_does_not_exist_is_refused_by_name(options, key):
    with pytest.raises(ValueError, match=f'{key} must be'):
        PyramidNet(**options)


def test_configs_find_it_by_name():
    assert isinstance(ROOT.build(dict(type='ovkd_mm.PyramidNet', depth=8, alpha=3)), PyramidNet)


def test_an_initialization_of_ones_own_takes_the_place_of_kaimings():
    model = PyramidNet(8, 3, init_cfg=dict(type='Constant', layer='Conv2d', val=7))
    model.init_weights()
    assert (model.conv1.weight == 7).all()
