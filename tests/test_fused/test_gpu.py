from types import SimpleNamespace
from unittest import mock

import pytest
import torch

from ovkd_mm.fused import blocks, gpu, operation

pytest.importorskip('triton', minversion='3.0', reason='whose interpreter runs on a CPU')
kernels = pytest.importorskip('ovkd_mm.fused.kernels')


def feature(dtype=torch.float32, device='cuda'):
    return SimpleNamespace(device=torch.device(device), dtype=dtype, dim=lambda: 4, numel=lambda: 100)


@pytest.fixture(autouse=True)
def _untried():
    gpu._tried.cache_clear()
    yield
    gpu._tried.cache_clear()


def test_kernels_serve_where_they_come_to_what_the_formulas_do(monkeypatch):
    checked = []
    check = gpu._check
    monkeypatch.setattr(
        gpu, '_check', lambda device, found: checked.append(device) or check(torch.device('cpu'), found)
    )
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float32):
        assert operation._backend(feature(dtype)) is kernels
    assert checked == [torch.device('cuda')]  # once
    assert operation._backend(feature(torch.float64)) is None
    assert operation._backend(feature(device='mps')) is None
    assert operation._backend(feature(device='cpu')) is blocks


@pytest.mark.parametrize('fault', ['does not compile', 'wrong loss', 'wrong gradient'])
def test_where_they_do_not_the_formulas_serve_and_the_log_says_so(monkeypatch, fault):
    true = kernels.compare_normalized

    def faulty(student, norm, teacher, margin, gradient, weight):
        if fault == 'does not compile':
            raise RuntimeError('no ptxas for this GPU')
        total, *rest = true(student, norm, teacher, margin, gradient, weight)
        if fault == 'wrong gradient':
            gradient += 0.1
        return total * (1.01 if fault == 'wrong loss' else 1), *rest

    monkeypatch.setattr(kernels, 'compare_normalized', faulty)
    check = gpu._check
    monkeypatch.setattr(gpu, '_check', lambda device, found: check(torch.device('cpu'), found))
    with mock.patch.object(gpu, 'print_log') as log:
        assert operation._backend(feature()) is None
        assert operation._backend(feature()) is None
    log.assert_called_once()
    why = 'no ptxas for this GPU' if fault == 'does not compile' else 'its result is not that of the formula'
    assert f'computed by the plain formula on cuda, as Triton fails there: {why}' in log.call_args.args[0]


def test_trying_leaves_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    gpu._check(torch.device('cpu'), kernels)
    assert torch.equal(torch.rand(1), expected)


def test_they_are_tried_where_nothing_learns_too():
    with torch.no_grad():
        gpu._check(torch.device('cpu'), kernels)


@pytest.mark.cuda
def test_a_gpu_is_served():
    assert operation._backend(torch.zeros(2, 3, 4, 4, device='cuda')) is kernels
