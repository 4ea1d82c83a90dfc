"""SeedHook: random numbers that do not depend on what ran before."""

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from ..registry import HOOKS

__all__ = ['SeedHook']


@HOOKS.register_module()
class SeedHook(Hook):
    """Makes the random numbers of a training a function of its seed and of where it stands.

    A checkpoint holds no states of random-number generators. With this hook none are needed: a resumed training draws
    what an uninterrupted one does, in augmentations and in the model.

    - Before batch ``n`` is loaded the generators are seeded with (seed, n, rank), so that without dataloader workers
      each rank augments in its own way. In an epoch-based loop, workers are seeded with (seed, epoch, rank, worker).
      They start anew each epoch, persistent or not; upstream seeds them alike in every epoch, so that each epoch
      repeats the augmentations of the first. In an iteration-based loop workers continue: upstream resumes it by
      drawing all earlier batches again, which brings them to where they were.
    - Before the model gets batch ``n`` the generators are seeded with (seed, n), alike in all processes.

    The seed is ``runner.seed``: processes of one training differ in it if ``randomness.diff_rank_seed`` is set.

    Other state that a checkpoint lacks is not restored: gradients accumulated since the last optimizer step, what a
    transform keeps from epoch to epoch in the main process, the size to which ``BatchSyncRandomResize`` scales its next
    batches (YOLOX: it begins with that of the config again), the rest of an epoch-based loop's epoch if the checkpoint
    was saved within it, and a validation that follows a checkpoint, with what it does to ``ReduceOnPlateau`` schedulers
    and early stopping; :class:`FinalValidationHook` makes up for the one at the end.
    """

    priority = 'HIGHEST'  # what other hooks draw comes after the seeding

    def before_train(self, runner: Runner) -> None:
        """Seed an iteration-based loop before it loads each of its batches, including those drawn again."""
        loop = runner.train_loop
        self._by_epoch = not isinstance(loop, IterBasedTrainLoop)
        if self._by_epoch:
            self._init_worker = loop.dataloader.worker_init_fn
        else:
            loop.dataloader_iterator = _SeededBatches(loop.dataloader_iterator, runner.seed)

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the first batch of an epoch, and let the loading processes start anew."""
        if self._by_epoch:
            _seed_loading(runner.seed, runner.iter)
            loader = runner.train_dataloader
            seeds = (runner.seed, runner.epoch, get_rank())
            loader.worker_init_fn = partial(_init_worker, first=self._init_worker, seeds=seeds)
            loader._iterator = None  # where persistent workers wait

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None) -> None:
        """Seed the model."""
        _seed(runner.seed, runner.iter)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Seed the next batch of an epoch."""
        if self._by_epoch:
            _seed_loading(runner.seed, runner.iter + 1)


class _SeededBatches:
    """An iterator that seeds the generators before it draws a batch."""

    def __init__(self, batches: Iterator, seed: int) -> None:
        self._batches = batches
        self._seed = seed
        self._drawn = 0

    def __iter__(self) -> '_SeededBatches':
        return self

    def __next__(self) -> Any:
        _seed_loading(self._seed, self._drawn)
        self._drawn += 1
        return next(self._batches)

    def skip_iter(self, count: int) -> None:
        """What forks of mmengine call on resuming: they would not load the batches, and loading draws numbers too."""
        for _ in range(count):
            next(self)


def _init_worker(worker: int, first: Callable[[int], None] | None, seeds: tuple[int, ...]) -> None:
    if first is not None:
        first(worker)
    _seed(*seeds, worker + 1)


def _seed_loading(seed: int, batch: int) -> None:
    # Counted from 1, since numpy takes (seed, batch, 0) for (seed, batch), the model's.
    _seed(seed, batch, get_rank() + 1)


def _seed(*numbers: int) -> None:
    """Seed ``random``, numpy and torch (CPU and GPUs) with a mixture of the numbers."""
    for_random, for_numpy, for_torch = np.random.SeedSequence(numbers).generate_state(3).tolist()
    random.seed(for_random)
    np.random.seed(for_numpy)
    torch.manual_seed(for_torch)
