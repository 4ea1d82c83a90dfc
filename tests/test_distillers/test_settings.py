import pytest

from ovkd_mm.distillers.settings import METHOD, PAIR, PARTS, check_settings


def test_known_settings_pass_and_an_unknown_one_is_answered_with_the_nearest():
    check_settings('pairs[0]', dict(student='a', wei=1) | dict(), [*PAIR, 'wei'])
    with pytest.raises(ValueError, match=r"pairs\[0\] has no setting 'wieght'; nearest: weight$"):
        check_settings('pairs[0]', dict(wieght=1), PAIR)


def test_what_is_not_a_dict_is_refused_with_what_it_should_have_been():
    with pytest.raises(TypeError, match=f'method must be a dict with some of {", ".join(METHOD)}, got 3'):
        check_settings('method', 3, METHOD)


def test_a_pair_may_override_every_part_of_a_method_but_not_its_hooks():
    assert set(PARTS) < set(PAIR) & set(METHOD)
    assert 'hooks' in METHOD and 'hooks' not in PAIR
