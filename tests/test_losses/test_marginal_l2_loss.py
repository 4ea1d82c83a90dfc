import pytest
import torch

from ovkd_mm.functional import marginal_l2
from ovkd_mm.losses import MarginalL2Loss


def test_the_loss_is_the_mean_over_all_entries():
    student, active = torch.randn(2, 3, 4, 4, dtype=torch.float64), (torch.randn(2, 3, 4, 4) > 0).double()
    expected = 7 * marginal_l2(student, active, 0.5).sum() / 96
    torch.testing.assert_close(MarginalL2Loss(7.0, margin=0.5)(student, active), expected)


def test_there_is_no_loss_beyond_the_margin():
    active = (torch.randn(2, 3, 4, 4) > 0).float()
    student = ((2 * active - 1) * (1 + torch.rand(2, 3, 4, 4))).requires_grad_()
    loss = MarginalL2Loss()(student, active)
    loss.backward()
    assert loss == 0 and not student.grad.any()


def test_a_loss_without_a_weight_has_weight_one():
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    torch.testing.assert_close(
        MarginalL2Loss(loss_weight=3.0)(student, teacher), 3 * MarginalL2Loss()(student, teacher)
    )


def test_a_margin_is_a_number():
    with pytest.raises(ValueError, match=r"MarginalL2Loss\.margin must be a number from 0 up, got 'wide'"):
        MarginalL2Loss(margin='wide')
