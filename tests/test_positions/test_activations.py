import mmcv.cnn.bricks as bricks
import pytest
import torch
from torch import nn

from ovkd_mm.positions.activations import is_activation


class Squared(nn.Module):
    """ReLU squared, which no list of torch's names."""

    def forward(self, x):
        return torch.relu(x) * 1.1


class Clipped(nn.Module):
    def forward(self, x):
        return x.clamp(0, 6)


class Counting(nn.Module):
    """An activation that draws random numbers and remembers that it was called."""

    def __init__(self):
        super().__init__()
        self.training_seen = []

    def forward(self, x):
        self.training_seen.append(self.training)
        return torch.relu(x) + 0 * torch.rand(())


KINDS = [
    nn.ReLU(),
    nn.ReLU(inplace=True),
    nn.ReLU6(),
    nn.PReLU(4),
    nn.GELU(),
    nn.SiLU(),
    nn.Hardswish(),
    nn.LeakyReLU(),
]


@pytest.mark.parametrize('module', [*KINDS, bricks.Swish(), Squared(), Clipped()], ids=str)
def test_activations_are_known_by_name_or_by_what_they_compute(module):
    assert is_activation(module)


@pytest.mark.parametrize(
    'module',
    [
        nn.Identity(),
        nn.Dropout(),
        nn.Sigmoid(),
        nn.Tanh(),
        nn.Softmax(-1),
        nn.Hardsigmoid(),
        nn.BatchNorm2d(1),
        nn.LayerNorm(8),
        nn.Conv2d(1, 1, 1),
        nn.MaxPool2d(1),
        nn.Flatten(),
        nn.Sequential(nn.ReLU()),
        nn.Bilinear(1, 1, 1),
        bricks.Scale(),
    ],
    ids=str,
)
def test_gates_norms_and_what_changes_nothing_are_none(module):
    assert not is_activation(module)


def test_looking_leaves_the_mode_and_the_generators_as_found():
    module = Counting().train()
    state = torch.get_rng_state()
    assert is_activation(module)
    assert module.training and module.training_seen == [False]
    assert torch.equal(torch.get_rng_state(), state)
