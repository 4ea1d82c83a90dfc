"""Channels-last memory."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..registry import HOOKS

__all__ = ['ChannelsLastHook']


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Trains with weights, and therefore features, in the channels-last memory format (NHWC).

    On a CPU depthwise convolutions are faster with it.
    """

    def before_train(self, runner: Runner) -> None:
        """Lay out the weights, a distillation's teacher included."""
        runner.model.to(memory_format=torch.channels_last)
