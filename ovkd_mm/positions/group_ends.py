"""Position of FSP: both ends of a group."""

from typing_extensions import override

from ..registry import TASK_UTILS
from .base import Position
from .layers import layers_of
from .place import Span
from .trace import Trace

__all__ = ['GroupEnds']


@TASK_UTILS.register_module()
class GroupEnds(Position):
    """What goes into a group of layers and what comes out of it, after their activations (Yim et al., CVPR 2017).

    The first end is the input of the group's first layer whose output has the group's spatial size; in pre-activation
    networks, where a batch norm reads that sum, the activation after that norm. The last end is that of
    :class:`EndOfGroup`. Sums that nothing has normalized would give Gram matrices of any scale.
    """

    reads_span = True

    @override
    def resolve(self, trace: Trace) -> Span:
        group = trace.last_call(self.path)
        layer = next((call for call in layers_of(trace, group) if call.input), None)
        if layer is None:
            raise ValueError(f'place {self.path!r} has no input of one tensor; name a group inside it')
        last = trace.place(self.path, trace.activation_after(group) or group, 'output')
        norm = trace.norm_reading(layer.value('input'), layer.path)
        if norm is None:
            return Span(trace.place(self.path, layer, 'input'), last)
        act = trace.activation_after(norm)
        if act and not any(act.value(side).tensor is norm.value('output').tensor for side in ('input', 'output')):
            act = None  # of a later layer
        return Span(trace.place(self.path, act or norm, 'output'), last)
