"""Position of FitNets: the middle of a group."""

from typing_extensions import override

from ..registry import TASK_UTILS
from .base import Position
from .layers import layers_of
from .place import Place
from .trace import Trace

__all__ = ['MidLayer']


@TASK_UTILS.register_module()
class MidLayer(Position):
    """The middle of a group of layers, after its activation; FitNets take the middle layer of the network.

    Of the group's layers that have weights and the group's spatial size (of a ResNet's stage these are the blocks) the
    middle one, of two the earlier. What is read is, as by :class:`EndOfGroup`, the output of the activation that ends
    it or that it feeds.
    """

    @override
    def resolve(self, trace: Trace) -> Place:
        group = trace.last_call(self.path)
        layers = [call for call in layers_of(trace, group) if any(True for _ in call.module.parameters())]
        middle = layers[(len(layers) - 1) // 2] if layers else group
        return trace.place(self.path, trace.activation_after(middle) or middle, 'output')
