import doctest
import math

import pytest
import torch
from scipy import integrate, stats

from ovkd_mm import functional
from ovkd_mm.functional import (
    attention_map,
    batch_norm_margin,
    channel_wise_kl,
    decoupled_kl,
    full_precision,
    gram_matrix,
    margin_relu,
    marginal_l2,
    normalized_l1,
    partial_l2,
    skipped_by_partial_l2,
    softened_kl,
)


def test_the_examples_in_the_docstrings_come_out_as_they_say():
    assert {test.name.rpartition('.')[2] for test in doctest.DocTestFinder().find(functional) if test.examples} == {
        'attention_map',
        'batch_norm_margin',
        'margin_relu',
        'partial_l2',
    }
    assert doctest.testmod(functional).failed == 0


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
    if f'pl2_{case}_student' not in golden:
        pytest.skip('these reference numbers lie beside a checkout alone')
    student = golden[f'pl2_{case}_student'].requires_grad_()
    loss = partial_l2(student, margin_relu(golden[f'pl2_{case}_teacher'], golden['margin']))
    loss.backward()
    assert loss.item() == pytest.approx(golden[f'pl2_{case}_loss'].item(), rel=1e-5)
    torch.testing.assert_close(student.grad, golden[f'pl2_{case}_grad'], rtol=1e-5, atol=0)


def test_partial_l2_equals_a_loop_over_positions():
    student, teacher, margin = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5), -torch.rand(3)
    total = 0.0
    for n, c, h, w in torch.cartesian_prod(*(torch.arange(size) for size in student.shape)).tolist():
        s, t = student[n, c, h, w].item(), max(teacher[n, c, h, w].item(), margin[c].item())
        total += 0.0 if s <= t <= 0 else (s - t) ** 2
    target = margin_relu(teacher, margin)
    assert partial_l2(student, target).item() == pytest.approx(total, rel=1e-5)
    assert partial_l2(student, target, 'none').sum().item() == pytest.approx(total, rel=1e-5)


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


def softmax(row: list[float]) -> list[float]:
    exponentials = [math.exp(value) for value in row]
    return [value / sum(exponentials) for value in exponentials]


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_softened_kl_and_its_gradient_equal_a_loop_over_distributions(temperature):
    student, teacher = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True), torch.randn(2, 3, 5).double()
    distances = softened_kl(student, teacher, temperature)
    distances.sum().backward()
    assert distances.shape == (2, 3)
    for n, a in torch.cartesian_prod(torch.arange(2), torch.arange(3)).tolist():
        p = softmax((teacher[n, a] / temperature).tolist())
        q = softmax((student[n, a] / temperature).tolist())
        expected = temperature**2 * sum(pi * math.log(pi / qi) for pi, qi in zip(p, q, strict=True))
        assert distances[n, a].item() == pytest.approx(expected, rel=1e-10)
        gradient = [temperature * (qi - pi) for pi, qi in zip(p, q, strict=True)]
        assert student.grad[n, a].tolist() == pytest.approx(gradient, rel=1e-9)


def test_softened_kl_is_zero_for_equal_logits_and_does_not_see_a_shift_of_them():
    student, teacher = torch.randn(2, 4, 5, dtype=torch.float64)
    assert (softened_kl(teacher + 3, teacher, 2.0).abs() < 1e-14).all()
    shifted = softened_kl(student - 7, teacher + torch.randn(4, 1), 2.0)
    torch.testing.assert_close(shifted, softened_kl(student, teacher, 2.0))
    assert (shifted > 0).all()


def test_softened_kl_at_a_high_temperature_is_half_the_squared_difference_of_centered_logits_over_classes():
    student, teacher = torch.randn(2, 4, 5, dtype=torch.float64)
    centered = student - student.mean(-1, keepdim=True) - teacher + teacher.mean(-1, keepdim=True)
    torch.testing.assert_close(softened_kl(student, teacher, 1e3), centered.square().mean(-1) / 2, rtol=1e-2, atol=0)


def test_an_attention_map_equals_a_loop_over_positions():
    feature = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    found = attention_map(feature)
    assert found.shape == (2, 1, 4, 5)
    for n in range(2):
        energy = {(h, w): sum(feature[n, c, h, w].item() ** 2 for c in range(3)) for h in range(4) for w in range(5)}
        norm = math.sqrt(sum(value**2 for value in energy.values()))
        for (h, w), value in energy.items():
            assert found[n, 0, h, w].item() == pytest.approx(value / norm, rel=1e-12)


def test_an_attention_map_does_not_see_the_scale_of_an_image_nor_signs_nor_the_order_of_channels():
    feature = torch.randn(3, 4, 5, 6, dtype=torch.float64)
    expected = attention_map(feature)
    torch.testing.assert_close(attention_map(feature * torch.tensor([0.01, -1.0, 100.0]).view(3, 1, 1, 1)), expected)
    torch.testing.assert_close(attention_map(feature[:, [2, 0, 3, 1]]), expected)
    assert not torch.allclose(attention_map(feature.flip(3)), expected)


def test_an_attention_map_of_zeros_is_zero_and_has_a_finite_gradient():
    feature = torch.zeros(1, 2, 3, 3, requires_grad=True)
    attention_map(feature).sum().backward()
    assert torch.equal(attention_map(feature), torch.zeros(1, 1, 3, 3))
    assert torch.isfinite(feature.grad).all()


def test_the_gradient_of_an_attention_map_is_that_of_finite_differences():
    assert torch.autograd.gradcheck(attention_map, torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True))


def test_a_gram_matrix_equals_a_loop_over_positions():
    first, last = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randn(2, 2, 4, 5, dtype=torch.float64)
    found = gram_matrix(first, last)
    assert found.shape == (2, 3, 2)
    for n, i, j in torch.cartesian_prod(*(torch.arange(size) for size in found.shape)).tolist():
        total = sum((first[n, i, h, w] * last[n, j, h, w]).item() for h in range(4) for w in range(5))
        assert found[n, i, j].item() == pytest.approx(total / 20, rel=1e-10)


def test_the_gradient_of_a_gram_matrix_is_each_ends_product_with_the_other():
    first, last = (torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    gram_matrix(first, last).sum().backward()
    torch.testing.assert_close(first.grad, last.sum(1, keepdim=True).expand_as(first) / 9)
    torch.testing.assert_close(last.grad, first.sum(1, keepdim=True).expand_as(last) / 9)


def test_a_gram_matrix_does_not_see_in_which_order_the_positions_are():
    first, last = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randn(2, 2, 4, 5, dtype=torch.float64)
    order = torch.randperm(20)
    permuted = (x.flatten(2)[..., order].view_as(x) for x in (first, last))
    torch.testing.assert_close(gram_matrix(*permuted), gram_matrix(first, last))
    assert not torch.allclose(gram_matrix(first, last.flip(3)), gram_matrix(first, last))


@pytest.mark.parametrize('larger', [0, 1])
def test_the_larger_end_of_a_gram_matrix_is_max_pooled_to_the_smaller(larger):
    ends = [torch.randn(1, 2, 2, 3, dtype=torch.float64) for _ in range(2)]
    pooled = list(ends)
    ends[larger] = torch.randn(1, 2, 4, 6, dtype=torch.float64)
    pooled[larger] = torch.stack(
        [ends[larger][..., h : h + 2, w : w + 2].amax((2, 3)) for h in (0, 2) for w in (0, 2, 4)], dim=-1
    ).view(1, 2, 2, 3)
    torch.testing.assert_close(gram_matrix(*ends), gram_matrix(*pooled))


def test_normalized_l1_and_its_gradient_equal_numbers_by_hand():
    student = torch.tensor([[3.0, 4.0]], dtype=torch.float64, requires_grad=True)  # of length 5
    teacher = torch.tensor([[0.0, 2.0]], dtype=torch.float64)
    distance = normalized_l1(student, teacher)
    assert distance.tolist() == [pytest.approx([0.6, 0.2])]
    distance.sum().backward()
    # d/ds of s1/|s| - s2/|s|: (|s|^2 - s1 (s1 - s2)) / |s|^3 and -(|s|^2 + s2 (s1 - s2)) / |s|^3
    assert student.grad.tolist() == [pytest.approx([28 / 125, -21 / 125])]


def test_normalized_l1_equals_a_loop_over_entries():
    student, teacher = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)
    found = normalized_l1(student, teacher)
    for n in range(2):
        s, t = student[n].flatten().tolist(), teacher[n].flatten().tolist()
        length_s, length_t = (math.sqrt(sum(value**2 for value in values)) for values in (s, t))
        expected = [abs(b / length_t - a / length_s) for a, b in zip(s, t, strict=True)]
        assert found[n].flatten().tolist() == pytest.approx(expected, rel=1e-10)


def test_normalized_l1_does_not_see_the_scale_of_an_images_factors():
    student, teacher = torch.randn(2, 3, 2, 4, 4, dtype=torch.float64)
    scale = torch.tensor([0.1, 1.0, 30.0]).view(3, 1, 1, 1)
    torch.testing.assert_close(normalized_l1(scale * student, teacher / scale), normalized_l1(student, teacher))
    assert (normalized_l1(scale * teacher, teacher) < 1e-14).all()
    assert normalized_l1(-teacher, teacher).sum() > 1


def test_marginal_l2_and_its_gradient_equal_a_loop_over_entries():
    student = (2 * torch.randn(2, 3, 4, 5, dtype=torch.float64)).requires_grad_()
    active = (torch.randn(2, 3, 4, 5) > 0).double()
    found = marginal_l2(student, active, 1.5)
    found.sum().backward()
    entries = [x.detach().flatten().tolist() for x in (student, active, found, student.grad)]
    for s, on, distance, gradient in zip(*entries, strict=True):
        short = max(1.5 - s, 0) if on else max(1.5 + s, 0)
        assert distance == pytest.approx(short**2, rel=1e-12)
        assert gradient == pytest.approx((-2 if on else 2) * short, rel=1e-12)


def test_marginal_l2_is_zero_from_the_margin_on_and_the_margins_square_on_the_boundary():
    student = torch.tensor([1.0, 5.0, -1.0, -5.0, 0.0, 0.0], requires_grad=True)
    found = marginal_l2(student, torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0, 0.0]), 1.0)
    assert found.tolist() == [0, 0, 0, 0, 1, 1]
    found.sum().backward()
    assert student.grad.tolist() == [0, 0, 0, 0, -2, 2]


def test_only_half_precision_is_widened():
    for dtype, expected in {torch.half: torch.float32, torch.bfloat16: torch.float32}.items():
        assert full_precision(torch.ones(2, dtype=dtype)).dtype == expected
    for dtype in (torch.float32, torch.float64):
        values = torch.ones(2, dtype=dtype)
        assert full_precision(values) is values


@pytest.mark.parametrize(
    'distance',
    [
        lambda s, t: softened_kl(s, t, 2.0),
        normalized_l1,
        marginal_l2,
        lambda s, t: decoupled_kl(s, t, torch.tensor([1, 3]), 2.0, 1.0, 8.0),
        lambda s, t: channel_wise_kl(s[..., None, None].movedim(1, 2), t[..., None, None].movedim(1, 2), 2.0),
    ],
)
def test_the_teacher_gets_no_gradient(distance):
    student, teacher = (torch.randn(2, 5, requires_grad=True) for _ in range(2))
    distance(student, teacher).sum().backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_partial_l2_counts_equality_with_a_blocked_teacher_as_skipped_and_so_zero():
    student = torch.tensor([[-0.3, -0.1, 0.0, 0.1]])
    teacher = torch.tensor([[-0.3, 0.0, 0.0, 0.1]])
    assert skipped_by_partial_l2(student, teacher).tolist() == [[True, True, True, False]]


def test_margins_of_another_precision_keep_the_features():
    feature = torch.tensor([[-3.0, 2.0]], dtype=torch.half)
    found = margin_relu(feature, torch.tensor([-1.0, -1.0]))
    assert found.dtype == torch.half
    assert found.tolist() == [[-1.0, 2.0]]


def test_the_margin_of_marginal_l2_is_one_and_activity_of_another_precision_keeps_the_features_precision():
    student = torch.tensor([0.25, 0.25], dtype=torch.half)
    found = marginal_l2(student, torch.tensor([1.0, 0.0]))
    assert found.dtype == torch.half
    assert found.tolist() == [0.5625, 1.5625]
