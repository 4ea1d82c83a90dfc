"""The layers that make up a group."""

from collections.abc import Iterator
from itertools import takewhile

from torch import nn

from .call import Call
from .trace import Trace

__all__ = ['called_by', 'layers_of']


def layers_of(trace: Trace, group: Call) -> list[Call]:
    """The calls that a group makes directly, in order, restricted to outputs of the group's spatial size.

    A module that calls none with weights stands for the sequence of siblings of that size that ends with it: VGG's
    groups are such sequences. An ``nn.Sequential`` of blocks among the calls stands for its blocks. Where a group runs
    through several sizes and one call alone has weights and the last size, a stage, it stands for its own layers.

    Args:
        trace: The model's trace.
        group: A finished call with one tensor as its output.

    Returns:
        Calls, at least one.
    """
    inside = called_by(trace, group)
    alone = not any(call.has_weights for call in inside)
    row = [layer for call in (_siblings(trace, group) if alone else inside) for layer in _blocks(trace, call)]

    def fits(call: Call) -> bool:
        return call.output is not None and trace.size(call.output) == trace.size(group.value('output'))

    layers = [*takewhile(fits, reversed(row))][::-1] if alone else [*filter(fits, row)] or [group]
    weighty = [call for call in layers if call.has_weights]
    if len(weighty) == 1 and weighty != [group] and len(layers) < len(row) and called_by(trace, weighty[0]):
        stage = layers.index(weighty[0])
        layers[stage : stage + 1] = layers_of(trace, weighty[0])
    return layers


def called_by(trace: Trace, caller: Call) -> list[Call]:
    """The calls that ``caller`` makes directly, not the calls nested in them."""
    found: list[Call] = []
    for call in trace.calls:
        within = caller.start < call.start and call.end < caller.end
        if within and (not found or call.start > found[-1].end):
            found.append(call)
    return found


def _siblings(trace: Trace, group: Call) -> list[Call]:
    """What the innermost caller of a group calls up to it, the group itself included."""
    callers = [call for call in trace.calls if call.start < group.start and call.end > group.end]
    parent = max(callers, key=lambda call: call.start, default=None)
    return [call for call in called_by(trace, parent) if call.end <= group.end] if parent else [group]


def _blocks(trace: Trace, call: Call) -> Iterator[Call]:
    """A call, or in place of a sequence of modules that call others (not of plain layers) what it calls."""
    inside = called_by(trace, call) if type(call.module).forward is nn.Sequential.forward else []
    weighty = [one for one in inside if one.has_weights]
    if weighty and all(called_by(trace, one) for one in weighty):
        for one in inside:
            yield from _blocks(trace, one)
    else:
        yield call
