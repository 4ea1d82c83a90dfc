"""Measure a distillation config."""

import copy
from dataclasses import dataclass

import torch
from mmengine.config import Config

from .operation import operations
from .steps import PARTS, Steps
from .timing import Times, alternate

__all__ = ['Benchmark', 'benchmark', 'with_last_pairs']


@dataclass(frozen=True)
class Benchmark:
    """What was measured with one batch size and one size of images.

    Attributes:
        batch_size: Images.
        size: ``(H, W)``, in pixels.
        pairs: How many pairs learn.
        times: Of the parts of a step, by name.
        feature: Shape of the largest feature that is compared.
        operation: Times of OFD's operation on such a feature, by name.
    """

    batch_size: int
    size: tuple[int, int]
    pairs: int
    times: dict[str, Times]
    feature: tuple[int, ...]
    operation: dict[str, Times]

    @property
    def limit(self) -> float:
        """Seconds that a distilled step cannot do without: the student's own step, the teacher, the connectors."""
        return sum(self.times[part].median for part in PARTS)

    @property
    def ratio(self) -> float:
        """The distilled step over the limit."""
        return self.times['distilled'].median / self.limit

    @property
    def images_per_second(self) -> float:
        """Of the distilled training, data loading left out."""
        return self.batch_size / self.times['distilled'].median


def benchmark(
    config: Config,
    batch_size: int,
    size: tuple[int, int],
    device: torch.device,
    channels_last: bool,
    rounds: int,
    mmrazor: bool = False,
) -> Benchmark:
    """Measure a distillation on random images with a random teacher.

    Args:
        config: The distillation.
        batch_size: Images.
        size: ``(H, W)`` of the images, in pixels.
        device: Where to run.
        channels_last: Keep channels side by side in memory.
        rounds: How often each part is timed.
        mmrazor: Time mmrazor's step of the same pair, too.

    Raises:
        TypeError: If the config is not one of a distillation.
        ValueError: If mmrazor is asked for and missing, or has no such method.
    """
    steps = Steps(config, batch_size, size, device, channels_last, mmrazor)
    times = alternate(steps.things(), device, rounds)
    feature = max((tuple(one.shape) for one in steps.features()), key=lambda shape: torch.Size(shape).numel())
    pairs = len(steps.model.pairs)
    del steps  # and the memory that it holds
    things = operations(feature, device, channels_last) if len(feature) == 4 else {}
    return Benchmark(batch_size, size, pairs, times, feature, alternate(things, device, rounds))


def with_last_pairs(config: Config, count: int) -> Config:
    """A copy of a config with the last of its pairs only.

    Args:
        config: A distillation that lists its pairs.
        count: How many to keep.

    Raises:
        ValueError: If it lists no pairs, or fewer.
    """
    pairs = config.model.get('pairs')
    if not isinstance(pairs, list):
        raise ValueError(
            f'--pairs takes the last of the pairs that a config lists, and model.pairs={pairs!r} lists none; '
            'tools/positions.py STUDENT TEACHER --write OUT.py writes them out'
        )
    if not 1 <= count <= len(pairs):
        raise ValueError(f'--pairs {count}: the config lists {len(pairs)} pairs')
    config = copy.deepcopy(config)
    config.model.pairs = pairs[-count:]
    return config
