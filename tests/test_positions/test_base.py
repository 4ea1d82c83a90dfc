import pytest

from ovkd_mm.positions import EndOfGroup, GroupEnds, Logits, MidLayer, ModuleOutput, Position, PreReLU


def test_places_are_listed_as_pairs_but_for_class_scores():
    assert Logits.listed_in == 'logits'
    assert {kind.listed_in for kind in (EndOfGroup, GroupEnds, MidLayer, ModuleOutput, PreReLU)} == {'pairs'}


def test_the_ends_of_a_group_alone_are_a_span():
    assert [kind for kind in (EndOfGroup, GroupEnds, Logits, MidLayer, ModuleOutput, PreReLU) if kind.reads_span] == [
        GroupEnds
    ]


def test_a_position_that_resolves_nothing_cannot_be_made():
    with pytest.raises(TypeError, match='abstract'):
        Position('backbone')
