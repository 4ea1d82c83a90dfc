"""The layers that make up a group."""

from .call import Call
from .trace import Trace

__all__ = ['called_by', 'layers_of']


def layers_of(trace: Trace, group: Call) -> list[Call]:
    """The calls that a group makes directly, in order, restricted to outputs of the group's spatial size.

    A module that calls no other stands for the sequence of siblings of that size that ends with it: VGG's groups are
    such sequences.

    Args:
        trace: The model's trace.
        group: A finished call with one tensor as its output.

    Returns:
        Calls, at least one.
    """
    inside = called_by(trace, group)
    if not inside:
        parent = max(
            (call for call in trace.calls if call.start < group.start and call.end > group.end),
            key=lambda call: call.start,
            default=None,
        )
        row = [call for call in called_by(trace, parent) if call.end <= group.end] if parent else [group]
        last_other = max((index for index, call in enumerate(row) if not _same_size(call, group)), default=-1)
        return row[last_other + 1 :]
    return [call for call in inside if _same_size(call, group)] or [group]


def called_by(trace: Trace, caller: Call) -> list[Call]:
    """The calls that ``caller`` makes directly, not the calls nested in them."""
    found: list[Call] = []
    for call in trace.calls:
        within = caller.start < call.start and call.end < caller.end
        if within and (not found or call.start > found[-1].end):
            found.append(call)
    return found


def _same_size(call: Call, group: Call) -> bool:
    return call.output is not None and call.output.tensor.shape[2:] == group.value('output').tensor.shape[2:]
