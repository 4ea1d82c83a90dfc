import pytest

from ovkd_mm.what_differs import what_differs


@pytest.mark.parametrize(
    ('one', 'two', 'keys'),
    [
        (dict(a=1, b=dict(c=2)), dict(a=1, b=dict(c=3)), ['b.c']),
        (dict(a=[1, dict(b=2)]), dict(a=[1, dict(b=3)]), ['a.1.b']),
        (dict(a=[1]), dict(a=[1, 2]), ['a']),
        (dict(a=1), dict(b=1), ['a', 'b']),
        (dict(a=1), dict(a=1), []),
    ],
)
def test_what_differs_is_named_by_its_keys(one, two, keys):
    assert what_differs(one, two) == keys
