"""Position of AT, FT and Jacobian matching: the end of a group, after its ReLU."""

from typing_extensions import override

from ..registry import TASK_UTILS
from .base import Position
from .place import Place
from .trace import Trace

__all__ = ['EndOfGroup']


@TASK_UTILS.register_module()
class EndOfGroup(Position):
    """The feature of a group of layers after its activation: what :class:`PreReLU` reads, one step later.

    The output of the activation that ends the group, or of the next one of the same spatial size that the group feeds;
    the group's own output where there is none.
    """

    @override
    def resolve(self, trace: Trace) -> Place:
        group = trace.last_call(self.path)
        return trace.place(self.path, trace.activation_after(group) or group, 'output')
