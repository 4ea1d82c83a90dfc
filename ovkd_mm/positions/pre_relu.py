"""Position of OFD: before the ReLU."""

from dataclasses import replace

from typing_extensions import override

from ..registry import TASK_UTILS
from .base import Position
from .place import Place
from .trace import Trace

__all__ = ['PreReLU']


@TASK_UTILS.register_module()
class PreReLU(Position):
    """The feature of a group of layers before its activation (paper, section 3.1 and figure 3).

    If the group ends in an activation, the input of that activation call. Else (pre-activation networks, linear
    bottlenecks) the input of the next activation of the same spatial size that the group feeds. Else the output of the
    batch norm that reads the group (PyramidNet's strided block), which is taken as one that a ReLU follows, as in the
    authors' code. Else the group's own output.

    A group that ends in a function (``F.relu``) is read before it if a module, such as a batch norm, returns that
    tensor. If none does, the group's output is read, where another ReLU would change nothing.
    """

    @override
    def resolve(self, trace: Trace) -> Place:
        group = trace.last_call(self.path)
        if before := trace.before_function(group):
            return replace(trace.place(self.path, before, 'output'), activated=True)
        if activation := trace.activation_after(group):
            return replace(trace.place(self.path, activation, 'input'), activated=True)
        out = group.value('output')
        norm = trace.norm_reading(out, group.path)
        activated = norm is not None or trace.only_activated(out)
        return replace(trace.place(self.path, norm or group, 'output'), activated=activated)
