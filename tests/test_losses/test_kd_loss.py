import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from ovkd_mm.functional import softened_kl
from ovkd_mm.losses import KDLoss


def test_the_loss_of_a_classifier_is_the_mean_over_its_images():
    student, teacher = torch.randn(2, 6, 5, dtype=torch.float64)
    expected = 0.5 * softened_kl(student, teacher, 3.0).sum() / 6
    torch.testing.assert_close(KDLoss(loss_weight=0.5, temperature=3.0)(student, teacher), expected)


def test_each_pixel_of_a_segmentor_has_a_distribution():
    student, teacher = torch.randn(2, 2, 5, 3, 4, dtype=torch.float64)
    by_pixel = [x.permute(0, 2, 3, 1).reshape(-1, 5) for x in (student, teacher)]
    torch.testing.assert_close(KDLoss()(student, teacher), softened_kl(*by_pixel, 4.0).mean())


@pytest.mark.parametrize('size', [3, 1])
def test_each_anchor_of_a_detector_has_a_distribution_of_channels_that_lie_together(size):
    student, teacher = torch.randn(2, 2, 4 * 5, size, size, dtype=torch.float64)
    # As mmdet's heads read their scores.
    by_anchor = [x.permute(0, 2, 3, 1).reshape(-1, 5) for x in (student, teacher)]
    torch.testing.assert_close(KDLoss(classes=5)(student, teacher), softened_kl(*by_anchor, 4.0).mean())
    assert KDLoss(classes=5).distance(student, teacher).shape == (2, 4, size, size)


def test_a_shift_of_one_anchors_scores_changes_nothing():
    student, teacher = torch.randn(2, 2, 4 * 5, 3, 3, dtype=torch.float64)
    shift = torch.randn(4, dtype=torch.float64).repeat_interleave(5).view(1, 20, 1, 1)
    loss = KDLoss(classes=5)
    torch.testing.assert_close(loss(student + shift, teacher), loss(student, teacher))
    torch.testing.assert_close(loss(teacher + shift, teacher), torch.zeros(()).double())


def test_the_gradient_at_temperature_one_is_that_of_cross_entropy_with_the_teachers_probabilities():
    student, teacher = torch.randn(4, 5, dtype=torch.float64, requires_grad=True), torch.randn(4, 5).double()
    (found,) = torch.autograd.grad(KDLoss(temperature=1.0)(student, teacher), student)
    (expected,) = torch.autograd.grad(F.cross_entropy(student, teacher.softmax(1)), student)
    torch.testing.assert_close(found, expected)


def test_channels_that_no_anchor_explains_are_an_error():
    with pytest.raises(ValueError, match='84 channels of logits are not a multiple of classes=20'):
        KDLoss(classes=20)(torch.randn(1, 84, 2, 2), torch.randn(1, 84, 2, 2))


@pytest.mark.parametrize('loss', [KDLoss(classes=0), KDLoss(classes=1), KDLoss(classes=1, standardize=True)])
def test_one_class_is_no_distribution_to_learn_from(loss):
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    with pytest.raises(ValueError, match='logits of one class are no distribution, so there is nothing to learn'):
        loss(student, teacher)


def test_standardized_logits_teach_their_order_and_not_their_size():
    """Sun et al. 2024, algorithm 1: mean and (unbiased) deviation of each distribution are taken out."""
    student, teacher = torch.randn(2, 4, 7)
    rows = [(one - one.mean(1, keepdim=True)) / one.std(1, keepdim=True) for one in (student, teacher)]
    standardized = KDLoss(temperature=2.0, standardize=True)
    torch.testing.assert_close(standardized(student, teacher), KDLoss(temperature=2.0)(*rows))
    torch.testing.assert_close(standardized(5 * teacher + 3, teacher), torch.tensor(0.0), atol=1e-5, rtol=0)


def test_two_classes_are_a_distribution():
    student, teacher = torch.randn(2, 4, 2)
    torch.testing.assert_close(KDLoss()(student, teacher), softened_kl(student, teacher, 4.0).mean())


def test_equal_logits_as_of_a_head_of_zeros_get_no_huge_gradient():
    student, teacher = torch.zeros(4, 7, requires_grad=True), torch.randn(4, 7)
    sizes = []
    for standardize in (False, True):
        loss = KDLoss(temperature=2.0, standardize=standardize)(student, teacher)
        sizes.append(torch.autograd.grad(loss, student)[0].norm())
    assert 0 < sizes[1] < 20 * sizes[0]
