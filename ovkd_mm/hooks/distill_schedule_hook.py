"""DistillScheduleHook: the weight of distillation over time."""

import logging
import math

from mmengine.logging import print_log
from mmengine.runner import Runner

from ..number import number
from ..registry import HOOKS
from .base import DistillerHook
from .connector_warmup_hook import ConnectorWarmupHook
from .duration import epoch_length, epochs_done

__all__ = ['DistillScheduleHook']

# From 1 down to 0 while t goes from 0 to 1.
SHAPES = dict(
    constant=lambda t: 1.0,
    linear=lambda t: 1 - t,
    cosine=lambda t: (1 + math.cos(math.pi * t)) / 2,
)


@HOOKS.register_module()
class DistillScheduleHook(DistillerHook):
    """Changes the weight of all distillation losses together; the log shows it as ``distill_weight``.

    While the weight is 0 the teacher does not run, and an iteration costs what the plain student's does.

    Args:
        schedule: ``'constant'`` stays at ``start``; ``'linear'`` and ``'cosine'`` go from ``start`` to ``end``.
        start: Weight at the beginning.
        end: Weight at the end.
        length: How long it takes from ``start`` to ``end``; by default until ``stop_at`` or the end of training.
        stop_at: From here on the weight is 0.
        by_epoch: Whether ``length`` and ``stop_at`` count epochs or iterations; in an iteration-based loop an epoch is
            a pass over the training set. The weight changes every iteration.

    Raises:
        ValueError: If the schedule is unknown or has no use for a setting, a weight negative or a time not positive.
    """

    def __init__(
        self,
        schedule: str = 'constant',
        start: float = 1.0,
        end: float = 0.0,
        length: int | None = None,
        stop_at: int | None = None,
        by_epoch: bool = True,
    ) -> None:
        if schedule not in SHAPES:
            raise ValueError(f'DistillScheduleHook.schedule must be one of {", ".join(SHAPES)}; got {schedule!r}')
        if schedule == 'constant' and (end or length is not None):
            raise ValueError(
                "DistillScheduleHook.schedule='constant' stays at start and takes neither end nor length: set schedule "
                "to 'linear' or 'cosine'"
            )
        for name, value in dict(start=start, end=end).items():
            number(f'DistillScheduleHook.{name}', value)
        for name, time in dict(length=length, stop_at=stop_at).items():
            if time is not None:
                number(f'DistillScheduleHook.{name}', time, above=True)
        self.shape = SHAPES[schedule]
        self.start = start
        self.end = end
        self.length = length
        self.stop_at = stop_at
        self.by_epoch = by_epoch

    def before_train(self, runner: Runner) -> None:
        """Look at the model, and warn of a ``stop_at`` that the training does not reach or the warm-up does.

        Raises:
            TypeError: If it is not a ``FeatureDistiller``.
            ValueError: If there is another such hook.
        """
        self.refuse_another(runner)
        self._model = self.distiller(runner)
        self._found = self._model.distill_weight
        total = runner.max_iters / self._unit(runner)
        if self.stop_at is not None and self.stop_at > total:
            print_log(
                f'DistillScheduleHook.stop_at={self.stop_at} is after the end of the training, which has {total:.4g} '
                f'{"epochs" if self.by_epoch else "iterations"}: distillation does not stop',
                logger='current',
                level=logging.WARNING,
            )

        warm_up = max(
            (hook.duration.in_iters(runner) for hook in runner.hooks if isinstance(hook, ConnectorWarmupHook)),
            default=0,
        )
        if self.stop_at is not None and self.stop_at * self._unit(runner) <= warm_up:
            print_log(
                f'DistillScheduleHook.stop_at={self.stop_at} is not after the warm-up of the connectors, which takes '
                f'{warm_up} iterations: the student learns nothing from the teacher',
                logger='current',
                level=logging.WARNING,
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None) -> None:
        """Set the weight of this iteration."""
        time = epochs_done(runner, batch_idx) if self.by_epoch else runner.iter
        self._model.distill_weight = self.weight(time, runner.max_iters / self._unit(runner))
        runner.message_hub.update_scalar('train/distill_weight', self._model.distill_weight)

    def after_train(self, runner: Runner) -> None:
        """Leave the model as it was found."""
        self._model.distill_weight = self._found

    def _unit(self, runner: Runner) -> int:
        return epoch_length(runner) if self.by_epoch else 1

    def weight(self, time: float, total: float) -> float:
        """Weight at a time.

        Args:
            time: What has passed of the training, in epochs or iterations.
            total: Length of the training, in the same unit.
        """
        if self.stop_at is not None and time >= self.stop_at:
            return 0.0
        progress = min(time / (self.length or self.stop_at or total), 1.0)
        return self.end + (self.start - self.end) * self.shape(progress)
