import pytest

from ovkd_mm.losses import CWDLoss, DISTLoss, DKDLoss, KDLoss


@pytest.mark.parametrize('kind', [CWDLoss, DISTLoss, DKDLoss, KDLoss])
@pytest.mark.parametrize('temperature', [0, -1, float('nan'), '4'])
def test_a_temperature_is_above_0(kind, temperature):
    assert kind(temperature=0.5).temperature == 0.5
    with pytest.raises(ValueError, match=f'{kind.__name__}.temperature must be a number above 0, got {temperature!r}'):
        kind(temperature=temperature)
