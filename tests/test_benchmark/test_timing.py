import pytest
import torch

from ovkd_mm.benchmark import timing
from ovkd_mm.benchmark.timing import Times, alternate


def test_things_take_turns_and_warm_up_unmeasured(monkeypatch):
    calls, clock = [], iter(range(1000))
    monkeypatch.setattr(timing.time, 'perf_counter', lambda: float(next(clock)))
    found = alternate(dict(a=lambda: calls.append('a'), b=lambda: calls.append('b')), torch.device('cpu'), 2)
    assert calls == ['a', 'b'] * 5 + ['a', 'b']  # for the memory
    assert {name: times.seconds for name, times in found.items()} == dict(a=[1.0, 1.0], b=[1.0, 1.0])


def test_memory_on_a_cpu_is_that_of_the_tensors_that_a_thing_makes():
    found = alternate(dict(small=lambda: torch.zeros(2**18), large=lambda: torch.zeros(2**20)), torch.device('cpu'), 1)
    assert {name: times.peak for name, times in found.items()} == dict(small=2**20, large=2**22)


def test_each_thing_gets_its_own_time(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(timing.time, 'perf_counter', lambda: clock[0])

    def takes(seconds):
        clock[0] += seconds

    found = alternate(dict(short=lambda: takes(1), long=lambda: takes(5)), torch.device('cpu'), 3)
    assert (found['short'].median, found['long'].median) == (1, 5)


def test_an_apple_gpu_is_waited_for_before_and_after_what_is_timed(monkeypatch):
    calls = []
    monkeypatch.setattr(timing.torch.mps, 'synchronize', lambda: calls.append('wait'))
    alternate(dict(a=lambda: calls.append('a')), torch.device('mps'), 1)
    assert calls == ['wait', 'a', 'wait'] * 4


def test_median_and_spread_are_those_of_the_rounds():
    times = Times([5.0, 1.0, 2.0, 100.0, 3.0])
    assert times.median == 3
    assert times.spread == pytest.approx(5 - 2)
    assert Times([1.0]).spread == 0


@pytest.mark.cuda
def test_memory_is_that_of_one_thing_at_its_peak():
    device = torch.device('cuda')
    things = dict(small=lambda: torch.zeros(2**20, device=device), large=lambda: torch.zeros(2**24, device=device))
    found = alternate(things, device, 2)
    assert found['large'].peak - found['small'].peak == pytest.approx(4 * (2**24 - 2**20), rel=0.01)
