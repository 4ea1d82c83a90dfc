"""How long a stage of training lasts."""

import logging
import math

from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.runner import IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from ..number import number

__all__ = ['Duration', 'batch_size_of', 'epoch_length', 'epochs_done']


def epoch_length(runner: Runner) -> int:
    """Iterations of one epoch; in an iteration-based loop, of one pass of all processes over the training set.

    The samplers of such loops never end, and their length is the data set's whatever the number of processes.
    """
    loader = runner.train_dataloader
    if not isinstance(runner.train_loop, IterBasedTrainLoop):
        return len(loader)
    return math.ceil(len(loader.dataset) / (batch_size_of(loader) * get_world_size()))


def batch_size_of(loader: DataLoader) -> int:
    """Images a batch, also where a sampler of batches decides."""
    return loader.batch_size or loader.batch_sampler.batch_size  # type: ignore[union-attr]


def epochs_done(runner: Runner, batch_idx: int) -> float:
    """Epochs since the training began, whatever their lengths were: a resumed one may have other batches.

    Args:
        runner: In an iteration, not yet done.
        batch_idx: As hooks get it: of the iteration in its epoch.
    """
    length = epoch_length(runner)
    if isinstance(runner.train_loop, IterBasedTrainLoop):
        return runner.iter / length
    return runner.epoch + batch_idx / length


class Duration:
    """A length in epochs or iterations.

    Args:
        hook: The hook that it belongs to, for messages.
        epochs: Length in epochs; in an iteration-based loop one is a pass over the training set.
        iters: Length in iterations, instead of ``epochs``.

    Raises:
        ValueError: If not exactly one of the two is given, or it is no whole number from 0 up.
    """

    def __init__(self, hook: str, epochs: int | None, iters: int | None) -> None:
        if (epochs is None) == (iters is None):
            raise ValueError(f'{hook} needs either epochs or iters; got epochs={epochs}, iters={iters}')
        self._hook = hook
        self._by_epoch = iters is None
        key, value = ('epochs', epochs) if self._by_epoch else ('iters', iters)
        self._length: int = number(f'{hook}.{key}', value, whole=True)

    def __str__(self) -> str:
        unit = 'epoch' if self._by_epoch else 'iteration'
        return f'{self._length} {unit}' + ('' if self._length == 1 else 's')

    def in_iters(self, runner: Runner) -> int:
        """The length in iterations of this training."""
        return self._length * (epoch_length(runner) if self._by_epoch else 1)

    def warn_if_all(self, runner: Runner, then: str) -> None:
        """Warn where no training comes after it.

        Args:
            runner: Before its training.
            then: What that means.
        """
        if self.in_iters(runner) >= runner.max_iters:
            print_log(
                f'{self._hook}: its {self} are the whole training, which has {runner.max_iters} iterations: {then}',
                logger='current',
                level=logging.WARNING,
            )

    def over(self, runner: Runner, batch_idx: int) -> bool:
        """Whether it has passed; the arguments are those of :func:`epochs_done`."""
        return (epochs_done(runner, batch_idx) if self._by_epoch else runner.iter) >= self._length
