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

    It is the middle one of the group's layers that have weights and the group's spatial size (in a ResNet's stage, of
    the blocks), and of two middle ones the earlier. As with :class:`EndOfGroup`, what is read is the output of the
    activation that ends this layer or that it feeds.
    """

    @override
    def resolve(self, trace: Trace) -> Place:
        group = trace.last_call(self.path)
        layers = [call for call in layers_of(trace, group) if call.has_weights]
        middle = layers[(len(layers) - 1) // 2] if layers else group
        return trace.place(self.path, trace.activation_after(middle) or middle, 'output')
