import copy

import pytest
import torch
from toy import needs_float16

from ovkd_mm.distillers import FeaturePair
from ovkd_mm.losses import DistillLoss, L2Loss, PartialL2Loss
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


def step(one, student, teacher):
    """Everything that a step changes or gives."""
    leaf = student.clone().requires_grad_()
    losses = [one(leaf, teacher) for _ in range(2)]  # twice, since running margins and statistics go on
    sum(losses).backward()
    gradients = {name: parameter.grad for name, parameter in one.named_parameters()}
    return dict(losses=losses, leaf=leaf.grad, log=one.loss.log(True), buffers=dict(one.named_buffers()), **gradients)


@pytest.mark.parametrize('running', [True, False])
@pytest.mark.parametrize(
    ('norm', 'training'),
    [
        ('batch norm', True),
        ('batch norm', False),
        ('untracked batch norm', True),
        ('untracked batch norm', False),
        ('none', True),
        ('SyncBN', False),  # which trains on GPUs alone
    ],
)
def test_one_operation_for_all_parts_comes_to_what_they_come_to_one_by_one(norm, training, running):
    torch.manual_seed(0)
    joined = pair(weight=0.25)
    joined.loss.loss_weight = 3.0
    joined.teacher_transform = MarginReLU(5, None if running else torch.nn.BatchNorm2d(5))
    if norm == 'untracked batch norm':
        joined.student_transform[-1].track_running_stats = False
    elif norm != 'batch norm':
        joined.student_transform = Conv1x1(3, 5, norm=False)
    if norm == 'SyncBN':
        joined.student_transform.append(torch.nn.SyncBatchNorm(5))
    joined.train(training)
    apart = copy.deepcopy(joined)
    apart.student_transform.register_forward_hook(lambda *_: None)  # somebody waits for what it makes
    student, teacher = torch.randn(4, 3, 4, 4), 2 * torch.randn(4, 5, 4, 4)
    torch.testing.assert_close(step(joined, student, teacher), step(apart, student, teacher))


def test_hooks_on_the_parts_of_a_pair_are_called():
    for part in ('student_transform', 'teacher_transform', 'loss'):
        one, called = pair(), []
        getattr(one, part).register_forward_hook(lambda *_, called=called: called.append(1))
        one(torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 5, 4, 4))
        assert called == [1]


def test_one_operation_makes_no_normalized_feature():
    one, made = pair(), []
    one.loss.fused = lambda *args: made.append(type(one.loss).fused(one.loss, *args)) or made[-1]
    loss = one(torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 5, 4, 4))
    assert made == [loss]
    assert type(loss.grad_fn).__name__ == '_NormalizedPartialL2Backward'


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


def test_resize_interpolates_between_the_centers_of_pixels():
    one = pair(student=(1, (1, 2)), teacher=(1, (1, 4)), resize=True)
    one.student_transform = Identity()
    seen = []
    one.loss.register_forward_pre_hook(lambda module, args: seen.extend(args))
    one(torch.tensor([[[[0.0, 4.0]]]], requires_grad=True), torch.zeros(1, 1, 1, 4))
    # Centers at 1/4 and 3/4 of the width before, at 1/8, 3/8, 5/8 and 7/8 after.
    assert seen[0].flatten().tolist() == [0, 1, 3, 4]


def test_the_sum_over_half_precision_features_is_taken_in_float32():
    one = pair(student=(5, (4, 4)))
    one.student_transform = Identity()
    student = torch.zeros(2, 5, 4, 4, dtype=torch.half, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16):
        loss = one(student, torch.full((2, 5, 4, 4), 400.0, dtype=torch.half))
    assert loss.item() == 5 * 4 * 4 * 400.0**2  # far above the largest half, 65504


def test_a_distance_that_multiplies_matrices_does_so_in_float32():
    class Product(DistillLoss):
        def forward(self, student, teacher):
            return self.distance(student, teacher).sum()

        def distance(self, student, teacher):
            return student.flatten(1) @ teacher.flatten(1).T

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


def test_one_value_a_channel_has_no_statistics_so_that_the_running_ones_serve():
    one = pair((3, (1, 1)), (5, (1, 1)))
    one(torch.randn(4, 3, 1, 1, requires_grad=True), torch.randn(4, 5, 1, 1))
    before = copy.deepcopy(one.state_dict())
    student, teacher = torch.randn(1, 3, 1, 1, requires_grad=True), torch.randn(1, 5, 1, 1)
    loss = one(student, teacher)
    (gradient,) = torch.autograd.grad(loss, one.student_transform.conv.weight)
    assert gradient.any() and all(torch.equal(value, before[key]) for key, value in one.state_dict().items())
    torch.testing.assert_close(loss, one.eval()(student, teacher))


@pytest.mark.parametrize('kind', ['forward_hook', 'forward_pre_hook', 'full_backward_hook'])
def test_hooks_on_the_connectors_norm_are_called_whatever_they_wait_for(kind):
    one, called = pair(), []
    getattr(one.student_transform[-1], f'register_{kind}')(lambda *_: called.append(1))
    one(torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 5, 4, 4)).backward()
    assert called == [1]


def test_a_teacher_of_other_channels_than_the_connectors_is_told_so():
    one = pair()
    one.teacher_transform = MarginReLU(6, torch.nn.BatchNorm2d(6))
    with pytest.raises(
        ValueError, match=r'transforms make \(2, 5, 4, 4\) of the student .*\(2, 6, 4, 4\) of the teacher'
    ):
        one(torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 6, 4, 4))


def test_a_student_without_a_gradient_is_compared_in_evaluation():
    assert pair().eval()(torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4)) > 0


@pytest.mark.parametrize('watched', [True, False])
def test_no_gradient_flows_to_the_teacher_or_is_kept_by_its_running_margin(watched):
    one = pair()
    one.teacher_transform = MarginReLU(5)
    if watched:
        one.loss.register_forward_hook(lambda *_: None)
    teacher = torch.randn(2, 5, 4, 4, requires_grad=True)
    one(torch.randn(2, 3, 4, 4, requires_grad=True), teacher).backward()
    assert teacher.grad is None and not one.teacher_transform.margin.requires_grad


def test_a_loss_of_ones_own_that_detaches_nothing_teaches_the_student_alone():
    class Difference(DistillLoss):
        def distance(self, student, teacher):
            return (student - teacher).square()

    one = FeaturePair(place(3, (4, 4)), place(3, (4, 4)), Identity(), Identity(), Difference())
    student, teacher = (torch.randn(2, 3, 4, 4, requires_grad=True) for _ in range(2))
    one(student, teacher).backward()
    assert student.grad.any() and teacher.grad is None
