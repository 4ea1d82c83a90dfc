"""Walking back through an autograd graph."""

from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import accumulate

from torch import Tensor
from torch.autograd.graph import Node

__all__ = ['ancestors', 'crossings', 'leaves', 'sources_first']


def ancestors(node: Node | None, stop: Container[Node] = ()) -> Iterator[Node]:
    """``node`` and what it was computed from; the walk goes no further back than the nodes in ``stop``."""
    seen, stack = set(), [node]
    while stack:
        current = stack.pop()
        if current is None or current in seen:
            continue
        seen.add(current)
        yield current
        if current not in stop:
            stack += [source for source, _ in current.next_functions]


def leaves(node: Node | None) -> Iterator[Tensor]:
    """The tensors with a gradient of their own that ``node`` was computed from, such as weights."""
    for found in ancestors(node):
        if found.name() == 'torch::autograd::AccumulateGrad':
            yield found.variable  # type: ignore[attr-defined]  # of this kind of node alone


def sources_first(sinks: Iterable[Node]) -> list[Node]:
    """``sinks`` and what they were computed from, each after its own; without recursion, since networks are deep."""
    order: dict[Node, None] = {}
    for sink in sinks:
        stack = [sink]
        while stack:
            waiting = [source for source, _ in stack[-1].next_functions if source is not None and source not in order]
            if stack[-1] in order:
                stack.pop()
            elif waiting:
                stack += waiting
            else:
                order[stack.pop()] = None
    return list(order)


def crossings(source: Node, sinks: Sequence[Node]) -> dict[Node, int]:
    """The nodes that every path from ``source`` to any of ``sinks`` crosses, the earliest first.

    In an order in which each node comes after those that it was computed from, no edge leads past such a node.

    Returns:
        For each node the number of its output that is used; nodes of which several are used make more than one tensor,
        and are left out.
    """
    reached: dict[Node, int] = {}  # what was computed from the source, with its place in the order
    numbers: dict[Node, set[int]] = {}
    edges = []
    for node in sources_first(sinks):
        before = [(one, number) for one, number in node.next_functions if one in reached]
        if before or node is source:
            place = reached[node] = len(reached)
            numbers[node] = set()
            for one, number in before:
                numbers[one].add(number)
                edges.append((reached[one], place))
    edges += [(reached[sink], len(reached)) for sink in sinks if sink in reached]
    over = [0] * (len(reached) + 1)  # how many edges more lead past a place than past the one before
    for begin, end in edges:
        over[begin + 1] += 1
        over[end] -= 1
    counts = dict(zip(reached, accumulate(over), strict=False))
    return {node: next(iter(numbers[node]), 0) for node in reached if counts[node] == 0 and len(numbers[node]) <= 1}
