import pytest

from ovkd_mm.method_files import METHODS, default_method, methods_of, read_method


def test_a_method_is_read_with_what_it_builds_on():
    method = read_method('ofd_imagenet')
    assert method['position'] == dict(type='ovkd_mm.PreReLU')
    assert method['loss'] == dict(type='ovkd_mm.PartialL2Loss', loss_weight=1e-4)


def test_an_unknown_one_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"^unknown method 'fitnet'; nearest: fitnets or none$"):
        read_method('fitnet', others=' or none')


def test_the_default_has_the_weight_of_the_papers_inputs():
    weights = {(None, 300): 1e-5, ('mmseg', 32): 1e-5, ('mmpretrain', 32): 1e-3, ('mmpretrain', 224): 1e-4}
    for (toolkit, side), weight in weights.items():
        name = default_method(toolkit, (side, side))
        assert (METHODS / f'{name}.py').exists()
        assert read_method(name)['loss']['loss_weight'] == weight


def test_a_setting_is_one_method_or_several_by_name_or_written_out():
    own = dict(weight=3)
    assert methods_of(own) == [own]
    assert methods_of('kd') == [read_method('kd')]
    assert methods_of(['ofd', own]) == [read_method('ofd'), own]
    assert methods_of(('ofd', 'kd')) == [read_method('ofd'), read_method('kd')]


@pytest.mark.parametrize(
    ('setting', 'error', 'why'),
    [
        ([], ValueError, "method is empty; .* such as method='ofd'"),
        ('ofdd', ValueError, "unknown method 'ofdd'; nearest: ofd"),
        (['kd', 7], TypeError, r'method\[1\] must be a dict of parts or the name of a file of methods, got 7'),
        (7, TypeError, r'^method must be a dict of parts or the name of a file of methods, got 7'),
    ],
)
def test_a_setting_that_is_none_is_refused(setting, error, why):
    with pytest.raises(error, match=why):
        methods_of(setting)
