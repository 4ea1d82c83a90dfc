import pytest
from mmengine.registry import MODELS

from ovkd_mm.losses import CWDLoss, DISTLoss, DKDLoss, KDLoss
from ovkd_mm.method_files import read_method


@pytest.mark.parametrize('kind', [CWDLoss, DISTLoss, DKDLoss, KDLoss])
@pytest.mark.parametrize('temperature', [0, -1, float('nan'), '4'])
def test_a_temperature_is_above_0(kind, temperature):
    assert kind(temperature=0.5).temperature == 0.5
    with pytest.raises(ValueError, match=f'{kind.__name__}.temperature must be a number above 0, got {temperature!r}'):
        kind(temperature=temperature)


@pytest.mark.parametrize('name', ['ab', 'cwd', 'dist', 'dkd', 'kd'])
def test_what_a_config_leaves_out_is_as_in_the_methods_file(name):
    settings = read_method(name)['loss']
    loss = MODELS.build(dict(type=settings['type']))
    assert {key: getattr(loss, key, None) for key in settings} | dict(type=None, loss_weight=None) == dict(
        settings, type=None, loss_weight=None
    )
