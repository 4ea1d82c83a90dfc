"""DistillShareHook: logs the distillation losses as a multiple of the task's."""

from mmengine.runner import Runner

from ..registry import HOOKS
from .base import DistillerHook

__all__ = ['DistillShareHook']


@HOOKS.register_module()
class DistillShareHook(DistillerHook):
    """Logs ``distill_share``, the distillation losses as a multiple of the task's; every distiller adds this hook.

    Both losses are those in the same line of the log, means over the log processor's window. Nothing is logged while
    the task has weight 0, as in the first stage of AB.
    """

    def before_train(self, runner: Runner) -> None:
        """Restart measurements unless training is resumed: those that ``load_from`` loads are another training's."""
        if runner.iter == 0:
            pairs = self.distiller(runner).pairs
            for measured in (*pairs.auto_weights, *(pair.teacher_transform for pair in pairs)):
                measured.restart()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None, outputs: dict | None = None
    ) -> None:
        """Compute the share from what ``RuntimeInfoHook`` has noted before, for ``LoggerHook``, which comes after."""
        model = self.distiller(runner)

        def logged(name: str) -> float:
            return runner.message_hub.get_scalar(f'train/{name}').mean(runner.log_processor.window_size)

        distillation = sum(logged(f'loss_distill_{index}') for index in range(len(model.pairs)))
        task = logged('loss') - distillation
        if model.task_weight and task > 1e-6 * logged('loss'):  # else what rounding leaves of nothing
            runner.message_hub.update_scalar('train/distill_share', distillation / task)
