"""How long a stage of training lasts."""

from mmengine.runner import Runner

__all__ = ['Duration']


class Duration:
    """A length in epochs or iterations.

    Args:
        hook: The hook that it belongs to, for messages.
        epochs: Length in epochs; in an iteration-based loop one is a pass over the training set.
        iters: Length in iterations, instead of ``epochs``.

    Raises:
        ValueError: If not exactly one of the two is given, or it is negative.
    """

    def __init__(self, hook: str, epochs: int | None, iters: int | None) -> None:
        if (epochs is None) == (iters is None) or (epochs or iters or 0) < 0:
            raise ValueError(f'{hook} needs either epochs or iters, from 0 up; got epochs={epochs}, iters={iters}')
        self._epochs = epochs
        self._iters = iters

    def in_iters(self, runner: Runner) -> int:
        """The length in iterations of this training."""
        return self._iters if self._epochs is None else self._epochs * len(runner.train_dataloader)
