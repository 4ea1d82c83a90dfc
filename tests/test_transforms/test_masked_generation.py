import pytest
import torch
from torch import nn

from ovkd_mm.losses import L2Loss
from ovkd_mm.method_files import read_method
from ovkd_mm.transforms import MaskedGeneration


def test_loss_and_gradient_of_mgd_are_the_published_codes(published, monkeypatch):
    g = {key.removeprefix('mgd_'): value for key, value in published.items() if key.startswith('mgd_')}
    transform = MaskedGeneration(5, 5, masked=0.65).double()
    layers = (transform.generation[0], transform.generation[2])
    weights = [weight for layer in layers for weight in (layer.weight, layer.bias)]
    with torch.no_grad():
        for index, weight in enumerate(weights):
            weight.copy_(g[f'generation_{index}'])
    # What lies above 0.35 is masked.
    monkeypatch.setattr(torch, 'rand', lambda *shape, device: torch.where(g['mask'].bool(), 0.34, 0.36))
    student = g['student'].clone().requires_grad_()
    loss = L2Loss(reduction='sum', loss_weight=2e-5)(transform(student), g['teacher'])
    loss.backward()
    torch.testing.assert_close(loss.detach(), g['loss'], rtol=1e-5, atol=0)
    torch.testing.assert_close(student.grad, g['grad'], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize('masked', [0.0, 0.25, 0.75])
def test_a_part_of_the_positions_is_masked_in_all_channels(masked):
    transform = MaskedGeneration(3, 3, masked)
    seen = []
    transform.generation.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    transform(torch.ones(4, 3, 50, 50))
    assert (seen[0] == seen[0][:, :1]).all()
    assert (seen[0] == 0).float().mean().item() == pytest.approx(masked, abs=0.02)


def test_other_channels_are_aligned_before():
    transform = MaskedGeneration(3, 5)
    assert isinstance(transform.align, nn.Conv2d)
    assert transform(torch.randn(2, 3, 4, 4)).shape == (2, 5, 4, 4)
    assert isinstance(MaskedGeneration(5, 5).align, nn.Identity)


@pytest.mark.parametrize('masked', [-0.1, 1.0])
def test_a_part_that_is_none_is_refused(masked):
    with pytest.raises(ValueError, match=r'MaskedGeneration.masked must be at least 0 and below 1'):
        MaskedGeneration(3, 5, masked)


def test_two_thirds_are_masked_unless_a_config_says_otherwise():
    assert MaskedGeneration(3, 3).masked == read_method('mgd')['student_transform']['masked']
