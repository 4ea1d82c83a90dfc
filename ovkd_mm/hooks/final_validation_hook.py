"""The validation that a stopped training still owes."""

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from ..registry import HOOKS

__all__ = ['FinalValidationHook']


@HOOKS.register_module()
class FinalValidationHook(Hook):
    """Validates a training that is resumed at its end.

    The last checkpoint is saved before the last validation. When a training that was stopped between
    the two is resumed, upstream neither trains nor validates, so its result would never be known.
    """

    def before_train(self, runner: Runner) -> None:
        """See whether anything is left to train."""
        by_iteration = isinstance(runner.train_loop, IterBasedTrainLoop)
        # Where a resumed training has other batches, epochs have another number of iterations.
        done, total = (runner.iter, runner.max_iters) if by_iteration else (runner.epoch, runner.max_epochs)
        self.at_end = done >= total

    def after_train(self, runner: Runner) -> None:
        """Validate if nothing was."""
        if self.at_end and runner.val_loop is not None:
            runner.val_loop.run()
