import pytest
import torch
import two_processes
from torch import nn
from toy import needs_float16

from ovkd_mm.distillers.gradient_ratio import gradient_ratios


def test_norms_are_those_over_the_weights_that_both_losses_reach():
    first, second, third = (nn.Parameter(torch.ones(2) * i) for i in (1, 2, 3))
    task = (first * torch.tensor([3.0, 4.0])).sum() + 100 * third.sum()
    other = (first * torch.tensor([0.0, 2.0])).sum() + 100 * second.sum()
    beside = (third * torch.tensor([0.0, 50.0])).sum()
    ratios = gradient_ratios(task, [other, beside], [first, second, third])
    assert ratios == pytest.approx([2 / 5, 50 / (100 * 2**0.5)])
    assert first.grad is None
    (task + other).backward()  # the graph is still there
    assert first.grad.tolist() == [3, 6]


def test_what_reaches_nothing_of_the_task_is_an_error():
    weights = [nn.Parameter(torch.ones(1)) for _ in range(2)]
    with pytest.raises(ValueError, match=r"loss_weight='auto' cannot be measured: .* set loss_weight to the number"):
        gradient_ratios(weights[0].sum(), [weights[1].sum()], weights)


@needs_float16
@pytest.mark.parametrize('size', [1e-7, 1e-3, 3e7])
def test_gradients_that_float16_does_not_hold_are_measured_under_autocast(size):
    torch.manual_seed(0)
    layers, image = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), torch.randn(4, 8)
    with torch.autocast('cpu', torch.float16):
        out = layers(image)
        task, other = out.float().square().mean(), out.float().square().mean() * size
        (ratio,) = gradient_ratios(task, [other], list(layers.parameters()))
    assert ratio == pytest.approx(size, rel=0.02)


@needs_float16
def test_all_processes_take_as_many_backward_passes_whichever_of_them_overflows(tmp_path):
    first, second = two_processes.run(two_processes.with_losses_that_overflow_on_one, tmp_path)
    assert first['passes'] == second['passes'] > 2
    assert first['ratio'] == pytest.approx(3, rel=0.02) == second['ratio']
