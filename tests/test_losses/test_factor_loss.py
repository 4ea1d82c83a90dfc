import torch

from ovkd_mm.functional import normalized_l1
from ovkd_mm.losses import FactorLoss


def test_the_loss_is_the_mean_over_all_entries():
    student, teacher = torch.randn(2, 3, 2, 4, 4, dtype=torch.float64)
    expected = 7 * normalized_l1(student, teacher).sum() / 96
    torch.testing.assert_close(FactorLoss(7.0)(student, teacher), expected)
    assert FactorLoss()(5 * teacher, teacher) < 1e-15


def test_a_loss_without_a_weight_has_weight_one():
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    torch.testing.assert_close(FactorLoss(loss_weight=3.0)(student, teacher), 3 * FactorLoss()(student, teacher))
