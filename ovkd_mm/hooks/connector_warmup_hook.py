"""ConnectorWarmupHook: the connectors learn before the student does."""

import contextlib

import torch
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ..registry import HOOKS
from .base import DistillerHook
from .duration import Duration

__all__ = ['ConnectorWarmupHook']


@HOOKS.register_module()
class ConnectorWarmupHook(DistillerHook):
    """For the first epochs or iterations only the connectors learn; then the student learns too, in the same run.

    The authors do this for one epoch in their segmentation code. During the warm-up the student's weights, the running
    statistics of its batch norms and the optimizer's state of its weights stay bit-identical. Its gradients are
    computed and dropped: an iteration costs as much as any other, and DDP gets every gradient that it waits for.
    Learning rate schedules run on. A method without connectors has no warm-up. Under FSDP no checkpoint can be saved
    during it: FSDP needs the optimizer state of every weight.

    Args:
        epochs: Length in epochs; in an iteration-based loop one is a pass over the training set.
        iters: Length in iterations, instead of ``epochs``.

    Raises:
        ValueError: If not exactly one of the two is given, or it is negative.
    """

    def __init__(self, epochs: int | None = None, iters: int | None = None) -> None:
        self.duration = Duration('ConnectorWarmupHook', epochs, iters)
        self._undo: contextlib.ExitStack | None = None

    def before_train(self, runner: Runner) -> None:
        """Look whether there is anything to warm up, and refuse a second warm-up.

        Raises:
            TypeError: If the model is not a ``FeatureDistiller``.
            ValueError: If there is another such hook.
        """
        self.refuse_another(runner)
        connectors = self.distiller(runner).pairs.parameters()
        self._has_connectors = any(parameter.requires_grad for parameter in connectors)
        if self._has_connectors:
            self.duration.warn_if_all(runner, 'the student learns nothing')
        else:
            print_log('the method has no connectors, so the student learns from the beginning', logger='current')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None) -> None:
        """Begin the warm-up, or end it.

        Raises:
            ValueError: If the optimizer does not hold the student's own weights (FSDP with ``use_orig_params=False``).
        """
        over = self.duration.over(runner, batch_idx)
        if self._has_connectors and not over and self._undo is None:
            self._begin(runner)
        elif over and self._undo:
            self._end()
            print_log('the student learns from here on', logger='current')

    def after_train(self, runner: Runner) -> None:
        """Leave a model that can be trained on, if training ended during the warm-up."""
        self._end()

    def _begin(self, runner: Runner) -> None:
        model = self.distiller(runner)
        print_log(f'only the connectors learn for {self.duration}', logger='current')
        optimizer = runner.optim_wrapper.optimizer
        optimized = {id(parameter) for group in optimizer.param_groups for parameter in group['params']}
        weights = [parameter for parameter in model.student.parameters() if parameter.requires_grad]
        if not optimized.issuperset(map(id, weights)):
            raise ValueError(
                "ConnectorWarmupHook: the optimizer does not hold the student's weights one by one, so they cannot be "
                'left out of a step; under FSDP set model_wrapper.use_orig_params=True'
            )

        def drop_gradients(*_: object) -> None:
            # What has no gradient is skipped by the optimizer: no momentum, no weight decay.
            for weight in weights:
                weight.grad = None

        def drop(gradient: Tensor) -> Tensor:
            return gradient if model.measuring else torch.zeros_like(gradient)

        self._undo = contextlib.ExitStack()
        model.student_learns = False
        self._undo.callback(setattr, model, 'student_learns', True)
        # Zeros already in backward: gradient clipping and AMP's search for overflows come before the step.
        for weight in weights:
            self._undo.callback(weight.register_hook(drop).remove)
        self._undo.callback(optimizer.register_step_pre_hook(drop_gradients).remove)
        for norm in model.student.modules():
            # Of batch norms only: without tracking, an instance norm would behave differently in evaluation.
            if isinstance(norm, _BatchNorm) and norm.track_running_stats:
                norm.track_running_stats = False
                self._undo.callback(setattr, norm, 'track_running_stats', True)

    def _end(self) -> None:
        if self._undo:
            self._undo.close()
        self._undo = None
