"""Timing several things side by side."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from rich.progress import track

from .memory import peak_of_tensors

__all__ = ['Times', 'alternate']

WARMUP = 3


@dataclass(frozen=True)
class Times:
    """What was measured of one thing.

    Attributes:
        seconds: One a round.
        peak: Most bytes that it held at once, beside what was there before: allocated on a GPU; on a CPU, of tensors.
    """

    seconds: list[float] = field(default_factory=list)
    peak: int | None = None

    @property
    def median(self) -> float:
        """Of the rounds, in seconds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """From the first to the third quartile, in seconds."""
        if len(self.seconds) < 2:
            return 0.0
        first, _, third = statistics.quantiles(self.seconds, n=4, method='inclusive')
        return third - first


def alternate(things: dict[str, Callable[[], object]], device: torch.device, rounds: int) -> dict[str, Times]:
    """Time things in turns, so that a machine which slows down slows all of them.

    Args:
        things: What to call, by name.
        device: On which they run.
        rounds: How often each is timed, after :data:`WARMUP` rounds that are not.
    """
    seconds: dict[str, list[float]] = {name: [] for name in things}
    peaks: dict[str, int] = {}
    for step in track(range(WARMUP + rounds), description='measuring', transient=True):
        for name, thing in things.items():
            _wait_for(device)
            if device.type == 'cuda':
                torch.cuda.reset_peak_memory_stats(device)
                before = torch.cuda.memory_allocated(device)
            start = time.perf_counter()
            thing()
            _wait_for(device)
            if step >= WARMUP:
                seconds[name].append(time.perf_counter() - start)
            if device.type == 'cuda':
                peaks[name] = torch.cuda.max_memory_allocated(device) - before
    if device.type == 'cpu':
        peaks = {name: peak_of_tensors(thing) for name, thing in things.items()}
    return {name: Times(found, peaks.get(name)) for name, found in seconds.items()}


def _wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was told to; calls return before that."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    elif device.type == 'mps':
        torch.mps.synchronize()
