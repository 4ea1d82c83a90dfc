"""InitializationHook: AB's first stage, in which the student learns from the teacher alone."""

from mmengine.logging import print_log
from mmengine.runner import Runner

from ..registry import HOOKS
from .base import DistillerHook
from .distill_schedule_hook import DistillScheduleHook
from .duration import Duration

__all__ = ['InitializationHook']


@HOOKS.register_module()
class InitializationHook(DistillerHook):
    """First distillation without the task, then the task without distillation, in one run.

    This is how AB (Heo et al., AAAI 2019) trains: its distillation initializes the student for the task. In the first
    stage the task's losses are computed and multiplied by 0, so that DDP gets the gradient of every weight that it
    waits for. In the second the teacher does not run. Learning rate schedules and weight decay act in both.

    Args:
        epochs: Length of the first stage in epochs; in an iteration-based loop one is a pass over the training set.
        iters: Length in iterations, instead of ``epochs``.

    Raises:
        ValueError: If not exactly one of the two is given, or it is negative.
    """

    def __init__(self, epochs: int | None = None, iters: int | None = None) -> None:
        self.duration = Duration('InitializationHook', epochs, iters)

    def before_train(self, runner: Runner) -> None:
        """Look at the model and the other hooks.

        Raises:
            TypeError: If the model is not a ``FeatureDistiller``.
            ValueError: If there is a ``DistillScheduleHook`` too, or several methods.
        """
        self._model = self.distiller(runner)
        if self._model.methods > 1:
            raise ValueError(
                'InitializationHook, which the method AB brings, ends all distillation after its stage, and the '
                f'{self._model.methods} methods of model.method would learn side by side. Train one after the other: '
                "with method='ab', then with the others and load_from set to the checkpoint of the first"
            )
        if any(isinstance(hook, DistillScheduleHook) for hook in runner.hooks):
            raise ValueError(
                'custom_hooks has an InitializationHook and a DistillScheduleHook, and both set the weight of '
                'distillation; leave one of them out (with the method AB, the DistillScheduleHook)'
            )
        self.duration.warn_if_all(runner, 'the student does not learn the task')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None) -> None:
        """Choose the stage."""
        weights = (1.0, 0.0) if self.duration.over(runner, batch_idx) else (0.0, 1.0)
        if weights != (self._model.task_weight, self._model.distill_weight):
            stage = f'from the teacher alone for {self.duration}' if weights[1] else 'the task alone from here on'
            print_log(f'the student learns {stage}', logger='current')
        self._model.task_weight, self._model.distill_weight = weights

    def after_train(self, runner: Runner) -> None:
        """Leave the model as it was found."""
        self._model.task_weight = self._model.distill_weight = 1.0
