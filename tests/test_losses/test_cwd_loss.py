import pytest
import torch

from ovkd_mm.losses import CWDLoss


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_loss_and_gradient_are_the_published_codes(published, temperature):
    g = {key: published[f'cwd_tau{temperature:.0f}_{key}'] for key in ('student', 'teacher', 'loss', 'grad')}
    student = g['student'].clone().requires_grad_()
    loss = CWDLoss(loss_weight=3.0, temperature=temperature)(student, g['teacher'])
    loss.backward()
    torch.testing.assert_close(loss.detach(), g['loss'], rtol=1e-5, atol=0)
    torch.testing.assert_close(student.grad, g['grad'], rtol=1e-5, atol=1e-9)


def test_only_where_a_channel_is_active_counts_not_how_much():
    feature = torch.randn(2, 3, 4, 5)
    assert CWDLoss()(feature + torch.randn(2, 3, 1, 1), feature).abs() < 1e-6
    assert CWDLoss()(feature.flip(2), feature) > 0.1


def test_distances_add_up_to_the_loss():
    student, teacher = torch.randn(2, 2, 3, 4, 5)
    distance = CWDLoss(temperature=2.0).distance(student, teacher)
    assert distance.shape == student.shape
    torch.testing.assert_close(CWDLoss(5.0, 2.0)(student, teacher), 5 * distance.sum() / (2 * 3))


def test_what_has_no_positions_or_no_temperature_is_refused():
    with pytest.raises(ValueError, match=r'\(2, 3\) has no positions'):
        CWDLoss()(torch.randn(2, 3), torch.randn(2, 3))
    with pytest.raises(ValueError, match=r'CWDLoss.temperature must be a number above 0, got 0'):
        CWDLoss(temperature=0)
