from torch import nn

from ovkd_mm.positions import trace
from ovkd_mm.positions.layers import layers_of


def paths(model, group):
    traced = trace(model, (8, 8))
    return [call.path for call in layers_of(traced, traced.last_call(group))]


def test_a_layers_row_is_that_of_the_innermost_module_that_calls_it():
    inner = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.ReLU())
    assert paths(nn.Sequential(nn.Conv2d(3, 3, 1), inner), '1.2') == ['1.0', '1.1', '1.2']


def test_a_row_ends_with_the_layer_that_names_it():
    assert paths(nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(3))), '1') == ['0', '1']


def test_a_model_that_calls_no_other_is_its_own_layer():
    assert paths(nn.Conv2d(3, 4, 1), '') == ['']


def test_a_group_has_the_layers_that_it_calls_itself():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()), nn.ReLU()))
    assert paths(model, '1') == ['1.0', '1.1']


def test_a_sequence_of_blocks_stands_for_its_blocks_and_one_of_layers_for_itself():
    def layers():
        return nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())

    blocks = nn.Sequential(layers(), nn.Identity(), nn.Sequential(layers(), layers()))
    model = nn.Sequential(nn.Sequential(layers(), blocks))
    assert paths(model, '0') == ['0.0', '0.1.0', '0.1.1', '0.1.2.0', '0.1.2.1']


class Stage(nn.Module):
    def __init__(self, stride):
        super().__init__()
        self.reduce, self.blocks = nn.Conv2d(3, 3, 1, stride), nn.Sequential(Block(), Block(), Block())

    def forward(self, x):
        return self.blocks(self.reduce(x))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 1), nn.ReLU()

    def forward(self, x):
        return self.relu(x + self.conv(x))


def test_the_last_stage_of_a_trunk_stands_for_its_own_layers():
    model = nn.Sequential(nn.Sequential(Stage(1), Stage(2)), nn.BatchNorm2d(3))
    stage = ['0.1.reduce', *(f'0.1.blocks.{i}' for i in range(3))]
    assert paths(model, '0') == stage
    assert paths(model, '1') == [*stage, '1']


def test_the_only_block_of_a_group_of_one_size_is_its_layer():
    assert paths(nn.Sequential(nn.Sequential(Block())), '0') == ['0.0']


def test_a_module_that_calls_none_with_weights_ends_a_row():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Sequential(nn.Dropout(), nn.ReLU()))
    assert paths(model, '2') == ['0', '1', '2']


def test_layers_that_put_channels_last_are_told_apart_by_height_and_width():
    class ChannelsLast(nn.Module):
        def __init__(self):
            super().__init__()
            self.large, self.small, self.last = nn.Linear(3, 5), nn.Linear(5, 6), nn.Linear(6, 5)

        def forward(self, x):
            return self.last(self.small(self.large(x.permute(0, 2, 3, 1))[:, ::2, ::2]))

    assert paths(nn.Sequential(ChannelsLast()), '0') == ['0.small', '0.last']
