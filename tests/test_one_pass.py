import pytest
import torch

from ovkd_mm import one_pass
from ovkd_mm.functional import partial_l2, skipped_by_partial_l2
from ovkd_mm.one_pass import partial_l2_and_skipped


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


def in_one_pass(student, target, weight=0.3):
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
    (total, skipped, gradient), expected = in_one_pass(student, target), plain(student, target)
    torch.testing.assert_close(total, expected[0])
    assert 0 < skipped == expected[1]
    assert torch.equal(gradient, expected[2])


@pytest.mark.parametrize('block', [1, 7, 1000, 10**6])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_blocks_of_any_size_come_to_the_same(monkeypatch, block, dtype):
    monkeypatch.setattr(one_pass, 'BLOCK', block)
    student, target = features((3, 4, 5, 6), dtype)
    (total, skipped, gradient), expected = in_one_pass(student, target), plain(student, target)
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
    (total, skipped, gradient), expected = in_one_pass(student, target), plain(student, target)
    torch.testing.assert_close(total, expected[0])
    assert skipped == expected[1]
    assert torch.equal(gradient, expected[2])


def test_unequal_shapes_are_an_error():
    with pytest.raises(ValueError, match='partial_l2 needs equal shapes'):
        partial_l2_and_skipped(torch.zeros(2, 3), torch.zeros(2, 4))
