import pytest
import torch
from toy import HALF_DTYPES

from ovkd_mm.compat.autocast import autocast_dtype


@pytest.mark.parametrize('dtype', HALF_DTYPES)
def test_it_tells_what_autocast_lowers_to_and_nothing_where_it_is_off(dtype):
    assert autocast_dtype('cpu') is None
    with torch.autocast('cpu', dtype=dtype):
        assert autocast_dtype('cpu') == dtype
        assert autocast_dtype('cuda') is None
        with torch.autocast('cpu', enabled=False):
            assert autocast_dtype('cpu') is None


@pytest.mark.filterwarnings('ignore:.*deprecated')
def test_so_it_does_with_the_functions_of_torch_2_1(monkeypatch):
    with torch.autocast('cpu', dtype=torch.bfloat16), monkeypatch.context() as old:
        old.delattr(torch, 'get_autocast_dtype', raising=False)
        assert autocast_dtype('cpu') == torch.bfloat16
        assert autocast_dtype('cuda') is None
        old.setattr(torch, 'is_autocast_cpu_enabled', lambda: False)
        old.setattr(torch, 'is_autocast_enabled', lambda: True)
        old.setattr(torch, 'get_autocast_gpu_dtype', lambda: torch.float16)
        assert autocast_dtype('cpu') is None
        assert autocast_dtype('cuda') == torch.float16
