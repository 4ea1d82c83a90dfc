import copy

import pytest
import torch
from torch import nn

from ovkd_mm.functional import margin_relu, partial_l2, skipped_by_partial_l2
from ovkd_mm.fused import blocks, negatives, normalized_partial_l2, operation, partial_l2_and_skipped


def features(shape, dtype=torch.float32):
    torch.manual_seed(0)
    student, target = torch.randn(2, *shape, dtype=dtype)
    target[student > 1.5] = 0  # at zero a target is blocked, too
    target[student < -1.5] = student[student < -1.5]  # where both are equal nothing is learned
    return student, target


def plain(student, target, weight=0.3):
    student = student.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    total = partial_l2(student, target)
    (weight * total).backward()
    return total.detach(), skipped_by_partial_l2(student.detach(), target).count_nonzero(), student.grad


def fused(student, target, weight=0.3):
    leaf = student.detach().requires_grad_()
    total, skipped = partial_l2_and_skipped(leaf, target)
    (weight * total).backward()
    return total.detach(), skipped, leaf.grad


LAYOUTS = {
    'contiguous': lambda x: x.contiguous(),
    'channels last': lambda x: x.contiguous(memory_format=torch.channels_last),
    'transposed': lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    'with holes': lambda x: torch.cat([x, x], 3)[..., : x.shape[3]],
    'expanded': lambda x: x[:1].expand_as(x),
}


@pytest.mark.parametrize('target_layout', LAYOUTS)
@pytest.mark.parametrize('student_layout', LAYOUTS)
def test_sum_count_and_gradient_are_those_of_the_plain_formula_whatever_the_layout(student_layout, target_layout):
    student, target = features((2, 5, 7, 3))
    student, target = LAYOUTS[student_layout](student), LAYOUTS[target_layout](target)
    (total, skipped, gradient), expected = fused(student, target), plain(student, target)
    torch.testing.assert_close(total, expected[0])
    assert 0 < skipped == expected[1]
    assert torch.equal(gradient, expected[2])


@pytest.mark.parametrize('block', [1, 7, 1000, 10**6])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_blocks_of_any_size_come_to_the_same(monkeypatch, block, dtype):
    monkeypatch.setattr(blocks, 'BLOCK', block)
    student, target = features((3, 4, 5, 6), dtype)
    (total, skipped, gradient), expected = fused(student, target), plain(student, target)
    torch.testing.assert_close(total, expected[0])
    assert (total.dtype, skipped) == (dtype, expected[1])
    assert torch.equal(gradient, expected[2])


def test_the_gradient_is_that_of_finite_differences():
    student, target = features((2, 3, 4, 4), torch.float64)
    target += 0.1  # off the edge where both are equal
    assert torch.autograd.gradcheck(lambda x: partial_l2_and_skipped(x, target)[0], student.requires_grad_())


def test_a_long_sum_of_float32_is_exact_to_a_millionth():
    student, target = features((8, 64, 40, 40))
    torch.testing.assert_close(
        partial_l2_and_skipped(student, target)[0].double(),
        partial_l2(student.double(), target.double()),
        rtol=1e-6,
        atol=0,
    )


def test_one_tensor_is_kept_for_backward_and_none_where_nothing_learns():
    student, target = features((2, 3, 4, 4))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        total, skipped = partial_l2_and_skipped(student.requires_grad_(), target)
        assert [x.shape for x in kept] == [student.shape]
        assert total.requires_grad and not skipped.requires_grad
        with torch.no_grad():
            assert not partial_l2_and_skipped(student, target)[0].requires_grad
        assert not partial_l2_and_skipped(student.detach(), target)[0].requires_grad
        assert len(kept) == 1


def test_backward_may_run_twice_and_the_features_stay_as_they_are():
    student, target = features((2, 3, 4, 4))
    before, leaf = (student.clone(), target.clone()), student.clone().requires_grad_()
    total, _ = partial_l2_and_skipped(leaf, target)
    first = torch.autograd.grad(3 * total, leaf, retain_graph=True)[0]
    assert torch.equal(torch.autograd.grad(3 * total, leaf)[0], first)
    assert torch.equal(leaf, before[0]) and torch.equal(target, before[1])


@pytest.mark.parametrize('shape', [(0, 3, 2, 2), (4,), (2, 3), (2, 3, 4), (2, 3, 2, 2, 2)])
def test_any_number_of_dimensions_will_do(shape):
    student, target = features(shape)
    (total, skipped, gradient), expected = fused(student, target), plain(student, target)
    torch.testing.assert_close(total, expected[0])
    assert skipped == expected[1]
    assert torch.equal(gradient, expected[2])


def test_unequal_shapes_are_an_error():
    with pytest.raises(ValueError, match='partial_l2 needs equal shapes'):
        partial_l2_and_skipped(torch.zeros(2, 3), torch.zeros(2, 4))


def teacher_and_margins(student, channels_last=False):
    teacher = torch.randn_like(student)
    if channels_last:
        teacher = teacher.contiguous(memory_format=torch.channels_last)
    return teacher, -torch.rand(student.shape[1], dtype=student.dtype)


def norm_of(channels, dtype=torch.float32, **settings):
    norm = nn.BatchNorm2d(channels, **settings).to(dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(channels))
        norm.bias.copy_(torch.randn(channels))
        norm.running_mean.copy_(torch.randn(channels))
        norm.running_var.copy_(torch.rand(channels) + 0.5)
    return norm


def separately(student, norm, teacher, margin, weight):
    leaf = student.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    target = margin_relu(teacher, margin)
    normalized = norm(leaf)
    (total := weight * partial_l2(normalized, target)).backward()
    skipped = skipped_by_partial_l2(normalized.detach(), target).count_nonzero()
    return dict(total=total.detach(), skipped=skipped, gradient=leaf.grad, **of_norm(norm))


def together(student, norm, teacher, margin, weight):
    leaf = student.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    total, skipped = normalized_partial_l2(leaf, norm, teacher, margin, weight)
    total.backward()
    return dict(total=total.detach(), skipped=skipped, gradient=leaf.grad, **of_norm(norm))


def of_norm(norm):
    return dict(scale=norm.weight.grad, shift=norm.bias.grad, **dict(norm.named_buffers()))


@pytest.mark.parametrize('block', [1, 50, 1000, 10**6])
@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('teacher_last', [True, False])
@pytest.mark.parametrize('layout', ['contiguous', 'channels last', 'transposed'])
def test_with_a_batch_norm_all_is_as_if_it_ran_alone(monkeypatch, layout, teacher_last, training, block):
    monkeypatch.setattr(blocks, 'BLOCK', block)
    torch.manual_seed(0)
    student = LAYOUTS[layout](5 + 3 * torch.randn(3, 6, 5, 7, dtype=torch.float64))
    teacher, margin = teacher_and_margins(student, teacher_last)
    norm = norm_of(6, torch.float64).train(training)
    expected = separately(student, copy.deepcopy(norm), teacher, margin, 0.3)
    found = together(student, norm, teacher, margin, 0.3)
    assert 0 < found['skipped'] < student.numel()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert found['gradient'].stride() == found['gradient'].clone().stride()


@pytest.mark.parametrize('momentum', [None, 0.0, 0.3])
def test_running_statistics_are_tracked_as_by_the_batch_norm(momentum):
    torch.manual_seed(0)
    student = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    teacher, margin = teacher_and_margins(student)
    alone = norm_of(4, torch.float64, momentum=momentum)
    joined = copy.deepcopy(alone)
    for _ in range(3):
        separately(student, alone, teacher, margin, 1)
        together(student, joined, teacher, margin, 1)
    torch.testing.assert_close(dict(joined.named_buffers()), dict(alone.named_buffers()))


@pytest.mark.parametrize('training', [True, False])
def test_through_the_batch_norm_the_gradients_are_those_of_finite_differences(training):
    torch.manual_seed(0)
    student = torch.randn(2, 3, 3, 4, dtype=torch.float64)
    teacher, margin = teacher_and_margins(student)
    norm = norm_of(3, torch.float64).train(training)

    def total(x, scale, shift):
        norm.weight, norm.bias = nn.Parameter(scale), nn.Parameter(shift)
        given = None if training else torch.stack((norm.running_mean, norm.running_var))
        return operation._NormalizedPartialL2.apply(x, scale, shift, teacher, margin, 0.7, given, norm.eps)[0]

    assert torch.autograd.gradcheck(total, [x.detach().requires_grad_() for x in (student, norm.weight, norm.bias)])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    torch.manual_seed(0)
    student = (4 * torch.randn(2, 4, 6, 6)).to(dtype)
    teacher, margin = teacher_and_margins(student)
    found = together(student, norm_of(4), teacher, margin, 1e-3)
    torch.manual_seed(0)
    assert (found['total'].dtype, found['gradient'].dtype) == (torch.float32, dtype)
    torch.manual_seed(0)
    student = (4 * torch.randn(2, 4, 6, 6)).to(dtype)
    teacher, margin = teacher_and_margins(student)
    expected = separately(student.float(), norm_of(4), teacher.float(), margin.float(), 1e-3)
    torch.testing.assert_close(found['total'], expected['total'])
    torch.testing.assert_close(found['gradient'].float(), expected['gradient'], rtol=2e-2, atol=2e-4)


def test_with_a_batch_norm_one_tensor_of_the_feature_is_kept():
    student = torch.randn(2, 3, 4, 4, requires_grad=True)
    teacher, margin = teacher_and_margins(student.detach())
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        normalized_partial_l2(student, norm_of(3), teacher, margin)
    assert [x.shape for x in kept if x.numel() >= student.numel()] == [student.shape]


def test_margins_count_as_by_the_margin_relu():
    student, teacher = features((2, 3, 4, 4))
    margin = torch.tensor([-0.1, -0.5, -2.0])
    leaf = student.clone().requires_grad_()
    total, skipped = partial_l2_and_skipped(leaf, teacher, margin)
    total.backward()
    expected = plain(student, margin_relu(teacher, margin), weight=1)
    torch.testing.assert_close(total.detach(), expected[0])
    assert skipped == expected[1]
    assert torch.equal(leaf.grad, expected[2])


def test_gradients_add_up_over_any_number_of_backward_passes():
    student, target = features((2, 3, 4, 4))
    leaf = student.clone().requires_grad_()
    total, _ = partial_l2_and_skipped(leaf, target)
    for _ in range(4):
        total.backward(retain_graph=True)
    torch.testing.assert_close(leaf.grad, plain(student, target, weight=4)[2])


@pytest.mark.parametrize('block', [1, 50, 10**6, None])
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_negatives_are_counted_and_summed_a_channel(monkeypatch, layout, dtype, block):
    if block:
        monkeypatch.setattr(blocks, 'BLOCK', block)
    else:
        monkeypatch.setattr(operation, '_backend', lambda feature: None)
    torch.manual_seed(0)
    feature = LAYOUTS[layout](torch.randn(3, 5, 4, 6).clamp(max=0.5).to(dtype))
    feature = feature.clone()
    feature[:, 1] = 0
    count, total = negatives(feature)
    channels = feature.transpose(0, 1).flatten(1).double()
    assert count.tolist() == [int((channel < 0).sum()) for channel in channels]
    assert 0 < count.max() < channels.shape[1] and count[1] == 0
    torch.testing.assert_close(total.double(), torch.stack([x[x < 0].sum() for x in channels]), rtol=1e-5, atol=1e-6)


def test_what_a_scaler_scales_later_does_not_vanish_in_float16():
    student = torch.randn(2, 3, 4, 4).half()
    teacher, margin = teacher_and_margins(student)
    norm = norm_of(3)
    expected = separately(student.float(), copy.deepcopy(norm), teacher.float(), margin, 2**16 * 1e-8)
    leaf = student.requires_grad_()
    total, _ = normalized_partial_l2(leaf, norm, teacher, margin, weight=1e-8)
    (2**16 * total).backward()
    assert leaf.grad.dtype == torch.float16
    torch.testing.assert_close(leaf.grad.float(), expected['gradient'], rtol=1e-2, atol=1e-6)


def test_the_norm_learns_though_nothing_before_it_does():
    torch.manual_seed(0)
    student = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    teacher, margin = teacher_and_margins(student)
    norm = norm_of(4, torch.float64)
    expected = separately(student, copy.deepcopy(norm), teacher, margin, 0.3)
    total, _ = normalized_partial_l2(student, norm, teacher, margin, 0.3)
    total.backward()
    torch.testing.assert_close((norm.weight.grad, norm.bias.grad), (expected['scale'], expected['shift']))


def test_where_there_is_no_operation_the_plain_formula_gives_the_same(monkeypatch):
    student, teacher = features((2, 3, 4, 4))
    margin = torch.tensor([-0.1, -0.5, -2.0])
    found = []
    for _ in range(2):
        leaf = student.clone().requires_grad_()
        total, skipped = partial_l2_and_skipped(leaf, teacher, margin, weight=0.3)
        total.backward()
        found.append((total.detach(), skipped, leaf.grad))
        monkeypatch.setattr(operation, '_backend', lambda feature: None)
    torch.testing.assert_close(*found)
