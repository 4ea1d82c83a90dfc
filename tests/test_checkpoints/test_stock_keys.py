from collections import OrderedDict

import pytest

from ovkd_mm.checkpoints.stock_keys import from_stock, rename_keys, to_stock


@pytest.mark.parametrize(
    ('own', 'stock'),
    [
        ('student.fc.weight', 'fc.weight'),
        ('student.student.fc.weight', 'student.fc.weight'),
        ('student.fc.student.', 'fc.student.'),
        ('pairs.0.weight', 'distiller.pairs.0.weight'),
        ('pairs.student.weight', 'distiller.pairs.student.weight'),
        ('pairs.distiller.', 'distiller.pairs.distiller.'),
    ],
)
def test_a_student_has_the_keys_of_the_plain_one_and_every_key_finds_back(own, stock):
    assert to_stock(own) == stock
    assert from_stock(stock) == own


def test_only_what_follows_the_prefix_is_renamed_in_its_order_and_with_its_versions():
    state = OrderedDict({'other.student.a': 0, 'model.student.b': 1, 'model.pairs.c': 2, 'model.student.model.': 3})
    state._metadata = {'': dict(version=1), 'other': dict(version=2), 'model.student.b': dict(version=3)}
    rename_keys(state, 'model.', to_stock)
    assert list(state.items()) == [
        ('other.student.a', 0),
        ('model.b', 1),
        ('model.distiller.pairs.c', 2),
        ('model.model.', 3),
    ]
    assert state._metadata == {'': dict(version=1), 'other': dict(version=2), 'model.b': dict(version=3)}


def test_a_state_dict_without_versions_is_renamed_too():
    state = {'student.a': 1}
    rename_keys(state, '', to_stock)
    assert state == {'a': 1}
