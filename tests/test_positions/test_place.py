import pytest
from torch import nn

from ovkd_mm.positions import EndOfGroup, GroupEnds, ModuleOutput, PreReLU, trace


@pytest.mark.parametrize('position', [EndOfGroup, GroupEnds, ModuleOutput, PreReLU])
@pytest.mark.parametrize('activation', [nn.ReLU, nn.Identity])
def test_a_place_has_the_name_that_the_user_wrote_wherever_it_is_read(position, activation):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), activation())
    place = position('2').resolve(trace(model, (6, 8)))
    assert [one.name for one in (getattr(place, 'first', place), getattr(place, 'last', place))] == ['2', '2']


def test_the_text_of_a_place_says_where_and_what_is_read():
    place = PreReLU('0').resolve(trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), (6, 8)))
    assert str(place) == '0 4x6x8 (input of 1, call 0)'
