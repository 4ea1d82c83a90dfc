import math

import pytest
import torch
from scipy import integrate, stats

from ovkd_mm.functional import batch_norm_margin, margin_relu, partial_l2


def test_margins_equal_the_authors(golden):
    margin = batch_norm_margin(golden['margin_gamma'], golden['margin_beta'])
    torch.testing.assert_close(margin, golden['margin'], rtol=1e-5, atol=0)


@pytest.mark.parametrize(('gamma', 'beta'), [(1.0, 0.0), (-0.7, 0.4), (0.3, -0.9), (2.0, 5.0)])
def test_margin_is_the_expected_negative_response_found_by_integration(gamma, beta):
    law = stats.norm(beta, abs(gamma))
    mass, _ = integrate.quad(law.pdf, -math.inf, 0)
    moment, _ = integrate.quad(lambda x: x * law.pdf(x), -math.inf, 0)
    margin = batch_norm_margin(torch.tensor([gamma]), torch.tensor([beta]))
    assert margin.item() == pytest.approx(moment / mass, rel=1e-5)


def test_margin_of_a_zero_scale_is_the_shift_where_negative_and_else_zero():
    margin = batch_norm_margin(torch.zeros(3), torch.tensor([-0.5, 0.0, 0.5]))
    assert margin.tolist() == [-0.5, 0.0, 0.0]


def test_margin_of_rarely_negative_channels_is_three_scales():
    assert batch_norm_margin(torch.tensor([0.5]), torch.tensor([2.0])).item() == pytest.approx(-1.5)


def test_margin_does_not_depend_on_the_sign_of_the_scale():
    scale, shift = torch.randn(32), torch.randn(32)
    assert torch.equal(batch_norm_margin(scale, shift), batch_norm_margin(-scale, shift))


def test_margin_relu_is_per_channel_for_maps_and_vectors():
    margin = torch.tensor([-1.0, -0.1])
    assert margin_relu(torch.tensor([[-3.0, -3.0], [2.0, -0.05]]), margin).tolist() == pytest.approx(
        torch.tensor([[-1.0, -0.1], [2.0, -0.05]])
    )
    feature = torch.randn(2, 2, 3, 4)
    torch.testing.assert_close(margin_relu(feature, margin)[:, 1], feature[:, 1].clamp_min(-0.1))


@pytest.mark.parametrize('case', [0, 1, 2])
def test_partial_l2_and_its_gradient_equal_the_authors(golden, case):
    student = golden[f'pl2_{case}_student'].requires_grad_()
    loss = partial_l2(student, golden[f'pl2_{case}_teacher'], golden['margin'])
    loss.backward()
    assert loss.item() == pytest.approx(golden[f'pl2_{case}_loss'].item(), rel=1e-5)
    torch.testing.assert_close(student.grad, golden[f'pl2_{case}_grad'], rtol=1e-5, atol=0)


def test_partial_l2_equals_a_loop_over_positions():
    student, teacher, margin = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5), -torch.rand(3)
    total = 0.0
    for n, c, h, w in torch.cartesian_prod(*(torch.arange(size) for size in student.shape)).tolist():
        s, t = student[n, c, h, w].item(), max(teacher[n, c, h, w].item(), margin[c].item())
        total += 0.0 if s <= t <= 0 else (s - t) ** 2
    assert partial_l2(student, teacher, margin).item() == pytest.approx(total, rel=1e-5)
    assert partial_l2(student, teacher, margin, 'mean').item() == pytest.approx(total / student.numel(), rel=1e-5)
    assert partial_l2(student, teacher, margin, 'none').sum().item() == pytest.approx(total, rel=1e-5)


def test_partial_l2_skips_what_the_teacher_blocks_and_the_student_undercuts():
    student = torch.tensor([[-2.0, 1.0, -2.0]], requires_grad=True)
    teacher = torch.tensor([[-1.0, -1.0, 1.0]], requires_grad=True)
    partial_l2(student, teacher).backward()
    assert student.grad.tolist() == [[0.0, 4.0, -6.0]]
    assert teacher.grad is None


def test_partial_l2_names_unequal_shapes_and_unknown_reductions():
    with pytest.raises(ValueError, match=r'student \(1, 2\) and teacher \(1, 3\)'):
        partial_l2(torch.zeros(1, 2), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="'median'"):
        partial_l2(torch.zeros(1, 2), torch.zeros(1, 2), reduction='median')
