import pytest
import torch
from toy import needs_float16

from ovkd_mm.distillers import FeaturePair
from ovkd_mm.losses import L2Loss, PartialL2Loss
from ovkd_mm.positions import Place
from ovkd_mm.transforms import AttentionMap, Conv1x1, Identity, InputGradient, MarginReLU


def place(channels, size):
    return Place('stage', 'stage', 0, 'output', (channels, *size), None, False)


def pair(student=(3, (4, 4)), teacher=(5, (4, 4)), norm=None, **changes):
    return FeaturePair(
        place(*student),
        place(*teacher),
        Conv1x1(student[0], teacher[0]),
        MarginReLU(teacher[0], norm or torch.nn.BatchNorm2d(teacher[0])),
        PartialL2Loss(),
        **changes,
    )


def test_the_four_tap_pair_set_equals_the_authors(golden):
    total = 0.0
    for tap in range(4):
        g = {key: golden[f'pair_{tap}_{key}'] for key in ('teacher', 'student', 'gamma', 'beta', 'conv')}
        norm = torch.nn.BatchNorm2d(len(g['gamma']))
        norm.load_state_dict(norm.state_dict() | dict(weight=g['gamma'], bias=g['beta']))
        one = pair(
            (g['student'].shape[1], g['student'].shape[2:]),
            (len(g['gamma']), g['teacher'].shape[2:]),
            norm,
            weight=2.0 ** (tap - 3),
        )
        with torch.no_grad():
            one.student_transform.conv.weight.copy_(g['conv'])
        student = g['student'].requires_grad_()
        # Ours is a mean over the batch, theirs a sum.
        loss = one(student, g['teacher']) * len(student)
        loss.backward()
        total += loss.item()
        for ours, name in ((student.grad, 'student_grad'), (one.student_transform.conv.weight.grad, 'conv_grad')):
            theirs = golden[f'pair_{tap}_{name}']
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())
    assert total == pytest.approx(golden['pair_loss_sum'].item(), rel=1e-5)


def test_unequal_sizes_are_an_error_that_names_both():
    with pytest.raises(ValueError, match=r'(?s)4x4.*8x6.*resize=True'):
        pair(teacher=(5, (8, 6)))


def test_sizes_that_differ_only_at_run_time_are_an_error_too():
    with pytest.raises(ValueError, match='3x3'):
        pair()(torch.randn(2, 3, 3, 3, requires_grad=True), torch.randn(2, 5, 4, 4))


def test_resize_brings_the_student_to_the_teachers_size():
    one = pair(teacher=(5, (8, 6)), resize=True)
    teacher = torch.randn(2, 5, 8, 6)
    student = torch.randn(2, 3, 4, 4, requires_grad=True)
    seen = []
    one.loss.register_forward_pre_hook(lambda module, args: seen.extend(args))
    one(student, teacher)
    assert seen[0].shape == teacher.shape
    torch.testing.assert_close(seen[1], one.teacher_transform(teacher))


@pytest.mark.parametrize(
    ('student', 'teacher', 'takes'),
    [(InputGradient, Identity, True), (Identity, InputGradient, True), (Identity, AttentionMap, False)],
)
def test_a_pair_takes_the_images_if_one_of_its_transforms_does(student, teacher, takes):
    assert FeaturePair(place(3, (4, 4)), place(3, (4, 4)), student(), teacher(), L2Loss()).takes_inputs is takes


def test_a_feature_of_the_teachers_size_is_not_resampled():
    one, seen = pair(resize=True), []
    one.student_transform.register_forward_pre_hook(lambda module, args: seen.extend(args))
    student = torch.randn(2, 3, 4, 4, requires_grad=True)
    one(student, torch.randn(2, 5, 4, 4))
    assert seen[0] is student


def test_a_student_that_attends_where_its_teacher_does_has_no_loss_at_another_size():
    one = FeaturePair(
        place(3, (4, 4)), place(3, (8, 6)), AttentionMap(), AttentionMap(), L2Loss(loss_weight=1000.0), resize=True
    )
    student = torch.randn(2, 3, 4, 4, requires_grad=True)
    teacher = torch.nn.functional.interpolate(student.detach(), (8, 6), mode='bilinear', align_corners=False)
    assert one(student, 5 * teacher).item() < 1e-8


def test_resize_interpolates_between_the_centres_of_pixels():
    one = pair(student=(1, (1, 2)), teacher=(1, (1, 4)), resize=True)
    one.student_transform = Identity()
    seen = []
    one.loss.register_forward_pre_hook(lambda module, args: seen.extend(args))
    one(torch.tensor([[[[0.0, 4.0]]]], requires_grad=True), torch.zeros(1, 1, 1, 4))
    # Centres at 1/4 and 3/4 of the width before, at 1/8, 3/8, 5/8 and 7/8 after.
    assert seen[0].flatten().tolist() == [0, 1, 3, 4]


def test_the_sum_over_half_precision_features_is_taken_in_float32():
    one = pair(student=(5, (4, 4)))
    one.student_transform = Identity()
    student = torch.zeros(2, 5, 4, 4, dtype=torch.half, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16):
        loss = one(student, torch.full((2, 5, 4, 4), 400.0, dtype=torch.half))
    assert loss.item() == 5 * 4 * 4 * 400.0**2  # far above the largest half, 65504


def test_a_distance_that_multiplies_matrices_does_so_in_float32():
    class Product(torch.nn.Module):
        def forward(self, student, teacher):
            return (student.flatten(1) @ teacher.flatten(1).T).sum()

    one = pair(student=(5, (4, 4)))
    one.student_transform, one.loss = Identity(), Product()
    student = torch.full((1, 5, 4, 4), 1 + 2**-9, requires_grad=True)  # which bfloat16 rounds to 1
    with torch.autocast('cpu', torch.bfloat16):
        loss = one(student, torch.ones(1, 5, 4, 4))
    assert (loss.dtype, loss.item()) == (torch.float32, 80 * (1 + 2**-9))


@needs_float16
@pytest.mark.parametrize('channels', [(256, 129), (2048, 33)])
def test_at_513_pixels_nothing_overflows_in_half_precision(channels):
    """The largest maps of DeepLabV3+ with features as large as 50, under the loss scale that AMP begins with."""
    width, size = channels
    one = pair(student=(16, (size, size)), teacher=(width, (size, size)))
    student = torch.randn(2, 16, size, size, requires_grad=True)
    teacher = 50 * torch.randn(2, width, size, size)
    gradients = []
    for dtype in (None, torch.float16):
        with torch.autocast('cpu', dtype or torch.bfloat16, enabled=dtype is not None):
            features = (student, teacher) if dtype is None else (student.to(dtype), teacher.to(dtype))
            loss = 1e-5 * one(*features)
        (gradient,) = torch.autograd.grad(65536 * loss, one.student_transform.conv.weight)
        gradients.append(gradient.float())
        assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert torch.isfinite(gradients[1]).all()
    error = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
    assert error < 0.02
