import pytest
import torch

from ovkd_mm.losses import L2Loss


def test_the_loss_and_its_gradient_are_those_of_a_loop_over_entries():
    student = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    pairs = list(zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True))
    total = sum((s - t) ** 2 for s, t in pairs)
    for reduction, share in dict(mean=1 / 120, sum=1 / 2).items():
        loss = L2Loss(loss_weight=3.0, reduction=reduction)(student, teacher)
        assert loss.item() == pytest.approx(3 * share * total, rel=1e-12)
        student.grad = None
        loss.backward()
        assert student.grad.flatten().tolist() == pytest.approx([6 * share * (s - t) for s, t in pairs], rel=1e-12)
        assert teacher.grad is None


def test_equal_features_are_at_no_distance():
    feature = torch.randn(2, 3, 4)
    assert L2Loss()(feature, feature) == 0


def test_an_unknown_reduction_is_an_error():
    with pytest.raises(ValueError, match="reduction must be 'mean' or 'sum', got 'none'"):
        L2Loss(reduction='none')


def test_a_loss_without_a_weight_has_weight_one():
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    torch.testing.assert_close(L2Loss(loss_weight=3.0)(student, teacher), 3 * L2Loss()(student, teacher))
