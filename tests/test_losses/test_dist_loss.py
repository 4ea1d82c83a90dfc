import pytest
import torch

from ovkd_mm.losses import DISTLoss


@pytest.mark.parametrize('temperature', [1.0, 2.0])
def test_loss_and_gradient_are_the_published_codes(published, temperature):
    g = {key: published[f'dist_tau{temperature:.0f}_{key}'] for key in ('student', 'teacher', 'loss', 'grad')}
    student = g['student'].clone().requires_grad_()
    loss = DISTLoss(temperature=temperature, inter_weight=1.0, intra_weight=2.0)(student, g['teacher'])
    loss.backward()
    torch.testing.assert_close(loss.detach(), g['loss'], rtol=1e-5, atol=0)
    torch.testing.assert_close(student.grad, g['grad'], rtol=1e-5, atol=1e-6)


def test_a_student_that_is_the_teacher_has_nothing_to_learn():
    logits = torch.randn(6, 11)
    assert DISTLoss()(logits, logits) < 1e-6
    assert DISTLoss()(torch.randn(6, 11), logits) > 0.5


def test_positions_and_anchors_are_distributions_of_their_own():
    student, teacher = torch.randn(2, 2, 3 * 5, 4, 4)
    rows = [one.view(2, 3, 5, 4, 4).permute(0, 1, 3, 4, 2).reshape(-1, 5) for one in (student, teacher)]
    torch.testing.assert_close(DISTLoss(classes=5)(student, teacher), DISTLoss()(*rows))
    distance = DISTLoss(classes=5, inter_weight=3.0, temperature=2.0).distance(student, teacher)
    assert distance.shape == (2, 3, 4, 4)
    within = DISTLoss(inter_weight=3.0, intra_weight=0.0, temperature=2.0)(*rows)
    torch.testing.assert_close(distance.mean(), within)


def test_weights_multiply_their_parts():
    student, teacher = torch.randn(2, 6, 11)
    parts = [DISTLoss(inter_weight=a, intra_weight=b)(student, teacher) for a, b in ((1, 0), (0, 1))]
    both = DISTLoss(loss_weight=7, inter_weight=2, intra_weight=3)(student, teacher)
    torch.testing.assert_close(both, 7 * (2 * parts[0] + 3 * parts[1]))


def test_one_class_is_no_distribution_to_learn_from():
    with pytest.raises(ValueError, match='logits of one class are no distribution'):
        DISTLoss()(torch.randn(2, 1), torch.randn(2, 1))


@pytest.mark.parametrize('classes', [3, 100])
def test_equal_logits_as_of_a_head_of_zeros_get_no_huge_gradient(classes):
    student, teacher = torch.zeros(8, classes, requires_grad=True), 3 * torch.randn(8, classes)
    loss = DISTLoss()(student, teacher)
    assert loss.item() == pytest.approx(2.0)  # what is all equal correlates with nothing
    assert 0 < torch.autograd.grad(loss, student)[0].norm() < 1000


def test_a_weight_is_a_number():
    with pytest.raises(ValueError, match=r'DISTLoss\.intra_weight must be a number from 0 up, got None'):
        DISTLoss(intra_weight=None)
