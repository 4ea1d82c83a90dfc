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
