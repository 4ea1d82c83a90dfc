import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F  # noqa: N812

from ovkd_mm.losses import DKDLoss, KDLoss


def test_loss_and_gradient_are_the_published_codes(published):
    g = {key: published[f'dkd_{key}'] for key in ('student', 'teacher', 'labels', 'loss', 'grad')}
    student = g['student'].clone().requires_grad_()
    loss = DKDLoss(temperature=4.0, target_weight=1.0, other_weight=2.0)(student, g['teacher'], g['labels'])
    loss.backward()
    torch.testing.assert_close(loss.detach(), g['loss'], rtol=1e-5, atol=0)
    torch.testing.assert_close(student.grad, g['grad'], rtol=1e-5, atol=1e-9)


def test_with_the_teachers_own_weight_of_the_others_it_is_kd():
    """Zhao et al. 2022, equation 5: KD weighs the others by what the teacher gives them."""
    student, teacher = torch.randn(2, 1, 7, dtype=torch.float64)
    labels = torch.tensor([3])
    others = 1 - F.softmax(teacher / 2, 1)[0, 3].item()
    found = DKDLoss(temperature=2.0, other_weight=others)(student, teacher, labels)
    torch.testing.assert_close(found, KDLoss(temperature=2.0)(student, teacher))


def test_positions_of_a_mask_are_distributions_and_the_void_is_left_out():
    student, teacher = torch.randn(2, 2, 5, 3, 4)
    labels = torch.randint(5, (2, 3, 4))
    labels[0, 1] = 255
    known = labels != 255
    rows = [one.movedim(1, -1)[known] for one in (student, teacher)]
    torch.testing.assert_close(DKDLoss()(student, teacher, labels), DKDLoss()(*rows, labels[known]))
    distance = DKDLoss().distance(student, teacher, labels)
    assert distance.shape == (2, 1, 3, 4) and not distance[:, 0][~known].any() and distance[:, 0][known].all()


def test_the_class_255_of_images_is_one_like_any_other():
    student, teacher = torch.randn(2, 2, 300)
    there, back = torch.tensor([255, 7]), torch.arange(300)
    back[[0, 255]] = back[[255, 0]]
    swapped = DKDLoss()(student[:, back], teacher[:, back], torch.tensor([0, 7]))
    torch.testing.assert_close(DKDLoss()(student, teacher, there), swapped)


def test_a_larger_mask_is_read_at_the_nearest_pixels():
    student, teacher = torch.randn(2, 2, 5, 3, 4)
    labels = torch.randint(5, (2, 3, 4))
    larger = labels.repeat_interleave(2, 1).repeat_interleave(2, 2)
    torch.testing.assert_close(DKDLoss()(student, teacher, larger), DKDLoss()(student, teacher, labels))


def test_without_any_true_class_there_is_nothing_to_learn():
    student = torch.randn(2, 5, 3, 4, requires_grad=True)
    loss = DKDLoss()(student, torch.randn(2, 5, 3, 4), torch.full((2, 3, 4), 255))
    loss.backward()
    assert loss == 0 and not student.grad.any()


def test_a_confident_teacher_and_student_keep_it_finite():
    logits = torch.tensor([[300.0, -300.0, 0.0]], requires_grad=True)
    loss = DKDLoss(temperature=1.0)(logits, -logits.detach(), torch.tensor([0]))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ('labels', 'why'),
    [
        (None, 'needs the true classes'),
        (torch.tensor([0, 5]), 'the label 5 is none of the 5 classes'),
        (torch.tensor([-1, 0]), 'the label -1 is none of the 5 classes'),
        (torch.tensor([0]), r'of the logits \(2, 5\), and the labels are \(1,\)'),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, why):
    with pytest.raises(ValueError, match=why):
        DKDLoss()(torch.randn(2, 5), torch.randn(2, 5), labels)


@pytest.mark.parametrize('size', [(), (3, 4)], ids=['images', 'masks'])
def test_a_gpu_is_not_waited_for(size):
    with FakeTensorMode():  # refuses to tell what a tensor holds
        student, teacher = (torch.randn(2, 5, *size, device='cuda') for _ in range(2))
        assert DKDLoss()(student, teacher, torch.zeros(2, *size, dtype=torch.long, device='cuda')).shape == ()


def test_one_class_is_no_distribution_to_learn_from():
    with pytest.raises(ValueError, match='logits of one class are no distribution'):
        DKDLoss()(torch.randn(2, 1), torch.randn(2, 1), torch.zeros(2, dtype=torch.long))


def test_a_weight_is_a_number():
    with pytest.raises(ValueError, match=r'DKDLoss\.target_weight must be a number from 0 up, got None'):
        DKDLoss(target_weight=None)
