import math

import pytest

from ovkd_mm.number import number


@pytest.mark.parametrize('value', [0, 0.5, 7])
def test_a_number_from_0_up_is_taken_as_it_is(value):
    assert number('a.b', value) is value


@pytest.mark.parametrize('value', [-0.1, math.inf, math.nan, True, '1', None, [1]])
def test_anything_else_is_refused_by_its_key(value):
    with pytest.raises(ValueError, match=r'^a\.b must be a number from 0 up, got '):
        number('a.b', value)


def test_zero_itself_may_be_too_little():
    assert number('a', 0.1, above=True) == 0.1
    with pytest.raises(ValueError, match=r'^a must be a number above 0, got 0$'):
        number('a', 0, above=True)


def test_where_it_counts_something_it_is_whole():
    assert number('a', 3, whole=True) == 3
    with pytest.raises(ValueError, match=r"^a must be a whole number from 0 up or 'all', got 2\.5$"):
        number('a', 2.5, whole=True, otherwise=" or 'all'")
