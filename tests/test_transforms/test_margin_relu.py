import pytest
import torch
from torch import nn

from ovkd_mm.functional import batch_norm_margin
from ovkd_mm.transforms import MarginReLU


def test_closed_form_margins_come_from_the_norm_and_are_not_saved():
    norm = nn.BatchNorm2d(4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    transform = MarginReLU(4, norm)
    torch.testing.assert_close(transform.margin, batch_norm_margin(norm.weight, norm.bias))
    assert not transform.state_dict()


def test_margins_of_a_norm_without_scale_are_those_of_a_standard_normal():
    transform = MarginReLU(2, nn.BatchNorm2d(2, affine=False))
    torch.testing.assert_close(transform.margin, torch.full((2,), -0.7978846))


def test_running_margins_are_the_mean_of_all_negative_responses_seen():
    transform = MarginReLU(3)
    features = [torch.randn(2, 3, 4, 4) - 0.5, torch.randn(5, 3, 2, 2), torch.randn(1, 3, 8, 8) + 1]
    for feature in features:
        transform(feature)
    seen = torch.cat([feature.transpose(0, 1).flatten(1) for feature in features], 1)
    expected = torch.stack([channel[channel < 0].mean() for channel in seen])
    torch.testing.assert_close(transform.margin, expected)


def test_running_margins_stay_in_evaluation_and_without_negatives():
    transform = MarginReLU(2)
    transform(torch.rand(1, 2, 3, 3))
    assert torch.equal(transform.margin, torch.zeros(2))
    transform(torch.randn(1, 2, 9, 9))
    before = transform.margin.clone()
    transform.eval()(torch.randn(1, 2, 9, 9) - 3)
    assert torch.equal(transform.margin, before)


def test_running_margins_survive_saving_and_loading():
    trained, fresh = MarginReLU(2), MarginReLU(2)
    trained(torch.randn(1, 2, 9, 9))
    fresh.load_state_dict(trained.state_dict())
    feature = torch.randn(1, 2, 9, 9)
    assert torch.equal(fresh(feature), trained(feature))
    assert torch.equal(fresh.margin, trained.margin)


@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16])
def test_running_margins_of_half_precision_features_are_as_exact_as_in_float32(dtype):
    transform, expected = MarginReLU(2), MarginReLU(2)
    feature = 30 * torch.randn(2, 2, 64, 64).to(dtype) - 100  # its sum is far above the largest half, 65504
    assert transform(feature).dtype == dtype
    expected(feature.float())
    torch.testing.assert_close(transform.margin, expected.margin)
    assert transform.margin.dtype == torch.float32


def test_one_negative_response_is_its_own_mean():
    transform = MarginReLU(1)
    transform(torch.tensor([[[[-3.0, 1.0, 0.0]]]]))
    assert transform.margin.item() == -3
    assert transform.negatives.tolist() == [1]


def test_responses_are_counted_beyond_what_float32_can_count():
    transform = MarginReLU(1)
    transform.negatives.fill_(2**24)
    transform(torch.tensor([[[[-1.0]]]]))
    assert transform.negatives.item() == 2**24 + 1


def test_its_text_says_which_margin_it_is():
    assert str(MarginReLU(3)) == 'MarginReLU(channels=3, margin=running)'
    assert str(MarginReLU(3, nn.BatchNorm2d(3))) == 'MarginReLU(channels=3, margin=closed form)'


def test_running_margins_are_over_all_processes(monkeypatch):
    """Two processes of equal batches: a sum over both is twice that of one."""
    summed = []
    monkeypatch.setattr('ovkd_mm.transforms.margin_relu.all_reduce', lambda values: summed.append(values.mul_(2)))
    transform = MarginReLU(1)
    transform(torch.tensor([[[[-3.0, -1.0, 1.0]]]]))
    assert transform.negatives.tolist() == [4]
    assert transform.margin.item() == -2


def test_behind_a_group_norm_the_running_margin_is_right_and_the_closed_form_would_not_be():
    torch.manual_seed(0)
    norm = nn.GroupNorm(1, 4)
    feature = norm(torch.randn(64, 4, 8, 8) * torch.tensor([0.1, 1, 3, 9]).view(4, 1, 1)).detach()
    transform = MarginReLU(4).train()
    transform(feature)
    negatives = torch.stack([channel[channel < 0].mean() for channel in feature.transpose(0, 1)])
    torch.testing.assert_close(transform.margin, negatives)
    closed = batch_norm_margin(norm.weight, norm.bias)
    assert (closed / negatives)[0] > 10 and (closed / negatives)[3] < 0.6


def test_margins_hold_no_graph_of_the_teacher():
    closed, running = MarginReLU(2, nn.BatchNorm2d(2)), MarginReLU(2)
    running(torch.randn(1, 2, 9, 9, requires_grad=True))
    assert not closed.margin.requires_grad and not running.margin.requires_grad


def test_a_restarted_running_margin_is_a_new_one_and_a_closed_form_stays():
    running, closed = MarginReLU(2), MarginReLU(2, nn.BatchNorm2d(2))
    running(torch.randn(1, 2, 9, 9))
    before = closed.margin.clone()
    for transform in (running, closed):
        transform.restart()
    assert not running.margin.any() and not running.negatives.any()
    assert torch.equal(closed.margin, before)


def test_a_norm_without_a_shift_has_margins_around_zero():
    norm = nn.BatchNorm2d(2)
    nn.init.normal_(norm.weight)
    expected = batch_norm_margin(norm.weight, torch.zeros(2))
    norm.bias = None  # as torch's bias=False leaves it, from 2.15 on
    torch.testing.assert_close(MarginReLU(2, norm).margin, expected)
