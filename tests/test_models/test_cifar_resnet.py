import pytest
import torch
from classifiers_by_hand import ByHand, randomise
from mmengine.registry import MODELS as ROOT

from ovkd_mm.models.cifar_resnet import CifarResNet
from ovkd_mm.positions import PreReLU, Tap, reading, trace


def test_with_a_classifier_of_100_classes_depth_56_has_the_papers_parameters():
    parameters = sum(parameter.numel() for parameter in CifarResNet(56).parameters())
    assert parameters + 64 * 100 + 100 == pytest.approx(0.86e6, rel=0.01)


@pytest.mark.parametrize(('depth', 'paper'), [(20, 0.27e6), (32, 0.46e6), (44, 0.66e6), (56, 0.85e6), (110, 1.7e6)])
def test_its_depths_are_those_of_its_papers_table_6(depth, paper):
    """The table's counts are of shortcuts without weights and ten classes, and rounded."""
    model = CifarResNet(depth)
    parameters = sum(parameter.numel() for name, parameter in model.named_parameters() if 'downsample' not in name)
    assert parameters + 64 * 10 + 10 == pytest.approx(paper, rel=0.02)


def test_its_output_and_the_features_at_the_papers_places_are_those_found_by_hand():
    model = CifarResNet(20)
    model.eval()  # mmpretrain's returns nothing
    randomise(model)
    images = torch.randn(2, 3, 16, 16)
    features, output = ByHand(model.state_dict()).cifar_resnet(images.double(), 20)
    traced = trace(model, (16, 16))
    taps = [Tap(PreReLU(f'layer{group}').resolve(traced)) for group in (1, 2, 3)]
    with reading(model, taps):
        (out,) = model(images)
        read = [tap.take() for tap in taps]
    torch.testing.assert_close(out.double(), output, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(read, features, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)
        assert theirs.min() < 0
    assert [tap.place.norm for tap in taps] == ['layer1.2.bn2', 'layer2.2.bn2', 'layer3.2.bn2']
    assert [tap.place.shape for tap in taps] == [(16, 16, 16), (32, 8, 8), (64, 4, 4)]


def test_blocks_do_not_start_as_identities():
    model = CifarResNet(20)
    model.init_weights()
    assert all((block.bn2.weight == 1).all() for block in model.layer1)


def test_a_depth_that_the_paper_has_not_is_refused_by_name():
    with pytest.raises(ValueError, match='depth must be one of 20, 32, 44, 56, 110, but it is 50'):
        CifarResNet(50)


def test_configs_find_it_by_name_and_reach_mmpretrains_options():
    model = ROOT.build(dict(type='ovkd_mm.CifarResNet', depth=20, frozen_stages=1))
    assert isinstance(model, CifarResNet)
    assert not any(parameter.requires_grad for parameter in model.layer1.parameters())


def test_options_of_mmpretrains_go_before_ours():
    model = CifarResNet(20, out_indices=(0, 2))
    assert [out.shape[1] for out in model(torch.randn(2, 3, 16, 16))] == [16, 64]
