import pytest
import torch

from ovkd_mm.losses import L2Loss
from ovkd_mm.transforms import Conv1x1, Standardize


def test_loss_and_gradient_of_pkd_are_the_published_codes(published):
    g = {key: published[f'pkd_{key}'] for key in ('student', 'teacher', 'loss', 'grad')}
    student, transform = g['student'].clone().requires_grad_(), Standardize()
    loss = L2Loss(loss_weight=3.0)(transform(student), transform(g['teacher']))
    loss.backward()
    torch.testing.assert_close(loss.detach(), g['loss'], rtol=1e-5, atol=0)
    torch.testing.assert_close(student.grad, g['grad'], rtol=1e-5, atol=1e-9)


def test_channels_have_mean_0_and_deviation_1_over_batch_and_positions():
    found = Standardize()(3 + 5 * torch.randn(4, 3, 6, 7)).transpose(0, 1).flatten(1)
    torch.testing.assert_close(found.mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std(1), torch.ones(3), atol=1e-4, rtol=0)


def test_a_channel_that_does_not_vary_becomes_0():
    assert not Standardize()(torch.full((2, 1, 3, 3), 7.0)).any()


@pytest.mark.parametrize(('channels', 'connects'), [((3, 5), True), ((4, 4), False), ((None, None), False)])
def test_a_connector_is_there_where_channels_differ(channels, connects):
    transform = Standardize(*channels)
    assert isinstance(transform.connector, Conv1x1) is connects
    assert transform(torch.randn(2, channels[0] or 4, 3, 3)).shape[1] == (channels[1] or 4)


def test_half_precision_is_standardized_in_single():
    feature = torch.full((2, 1, 3, 3), 6e4, dtype=torch.float16)
    feature[0] = -6e4
    found = Standardize()(feature)
    assert found.dtype == torch.float32 and torch.isfinite(found).all()


def test_one_value_has_no_deviation_and_becomes_0_with_a_gradient_of_0():
    feature = torch.randn(1, 3, 1, 1, requires_grad=True)  # the last image of an epoch, at a level of 1x1
    found = Standardize()(feature)
    assert torch.equal(found, torch.zeros(1, 3, 1, 1))
    (gradient,) = torch.autograd.grad(found.sum(), feature)
    assert torch.isfinite(gradient).all()
