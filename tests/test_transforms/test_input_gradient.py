import copy

import pytest
import torch
from torch import nn

from ovkd_mm.transforms import InputGradient


def network() -> nn.Sequential:
    """Smooth, so that finite differences hold."""
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 3, stride=2), nn.Tanh()).double()


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 7, 7, dtype=torch.float64, requires_grad=True)


def most_attention(network: nn.Module, image: torch.Tensor) -> float:
    feature = network(image[None])[0]
    return max(
        sum(abs(feature[c, h, w].item()) for c in range(len(feature)))
        for h in range(feature.shape[1])
        for w in range(feature.shape[2])
    )


def unit(values: torch.Tensor) -> torch.Tensor:
    return values / values.norm()


def by_finite_differences(network: nn.Module, image: torch.Tensor, step: float = 1e-6) -> torch.Tensor:
    gradient = torch.zeros_like(image)
    with torch.no_grad():
        for index in range(image.numel()):
            shifted = []
            for sign in (1, -1):
                moved = image.detach().clone()
                moved.view(-1)[index] += sign * step
                shifted.append(most_attention(network, moved))
            gradient.view(-1)[index] = (shifted[0] - shifted[1]) / (2 * step)
    return unit(gradient)


@pytest.mark.parametrize('differentiable', [False, True])
def test_the_gradient_is_that_of_finite_differences_of_the_most_attended_position(differentiable):
    net, inputs = network(), images()
    found = InputGradient(differentiable)(net(inputs), inputs)
    for n in range(2):
        torch.testing.assert_close(found[n].detach(), by_finite_differences(net, inputs[n]), rtol=1e-5, atol=1e-8)
    assert found.requires_grad == differentiable


def test_what_a_student_learns_through_the_gradient_is_that_of_finite_differences_of_its_weights():
    net, inputs = network(), images()
    taught = torch.randn(2, 3, 7, 7, dtype=torch.float64)
    transform = InputGradient(differentiable=True)

    def loss(net):
        return (transform(net(inputs), inputs) - taught).square().sum()

    loss(net).backward()
    checked = 0
    for name, weight in net.named_parameters():
        for index in (0, weight.numel() - 1):
            moved = []
            for sign in (1, -1):
                other = copy.deepcopy(net)
                with torch.no_grad():
                    other.get_parameter(name).view(-1)[index] += sign * 1e-6
                moved.append(loss(other).item())
            expected = (moved[0] - moved[1]) / 2e-6
            # The last bias shifts what has no part in where the gradient points but through the activation.
            assert weight.grad.view(-1)[index].item() == pytest.approx(expected, rel=1e-4, abs=1e-7), name
            checked += expected != 0
    assert checked >= 6


def test_an_images_gradient_has_unit_length_and_no_scale_of_the_feature():
    net, inputs = network(), images(3)
    found = InputGradient()(net(inputs), inputs)
    torch.testing.assert_close(found.flatten(1).norm(dim=1), torch.ones(3).double())
    torch.testing.assert_close(InputGradient()(5 * net(inputs), inputs), found)


def test_images_do_not_see_each_other():
    net, inputs = network(), images(3)
    alone = inputs[1:2].detach().requires_grad_()
    torch.testing.assert_close(InputGradient()(net(inputs), inputs)[1:2], InputGradient()(net(alone), alone))


def test_a_feature_of_zeros_has_a_gradient_of_zeros_and_gives_no_nan():
    net, inputs = network(), images()
    nn.init.zeros_(net[2].weight)
    nn.init.zeros_(net[2].bias)
    found = InputGradient(differentiable=True)(net(inputs), inputs)
    assert (found == 0).all()
    found.sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in net.parameters() if weight.grad is not None)


def test_a_feature_without_a_graph_is_an_error():
    with pytest.raises(ValueError, match=r'without torch\.no_grad'):
        InputGradient()(torch.randn(1, 2, 3, 3), images(1))


def test_by_default_the_gradient_is_a_constant_and_the_feature_keeps_its_graph():
    net, inputs = network(), images(1)
    feature = net(inputs)
    assert not InputGradient()(feature, inputs).requires_grad
    feature.sum().backward()  # the task's loss
    assert all(weight.grad is not None for weight in net.parameters())


def test_attention_beyond_the_range_of_half_precision_still_has_a_highest_position():
    inputs = torch.tensor([[[[4e4, 6e4]], [[4e4, 6e4]], [[0.0, 0.0]]]], dtype=torch.half, requires_grad=True)
    found = InputGradient()(inputs[:, :2].clone(), inputs)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor([[[[0.0, 1.0]], [[0.0, 1.0]], [[0.0, 0.0]]]]) / 2**0.5)
