"""Walking back through an autograd graph."""

from collections.abc import Container, Iterator

from torch import Tensor
from torch.autograd.graph import Node

__all__ = ['ancestors', 'depth', 'leaves']


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


def depth(node: Node, known: dict[Node, int]) -> int:
    """Number of nodes on the longest path from ``node`` back to a leaf; without recursion, since networks are deep.

    Args:
        node: Where to start.
        known: Depths found so far; those found now are added.
    """
    stack = [node]
    while stack:
        sources = [source for source, _ in stack[-1].next_functions if source is not None]
        waiting = [source for source in sources if source not in known]
        if waiting:
            stack += waiting
        else:
            known[stack.pop()] = 1 + max((known[source] for source in sources), default=0)
    return known[node]
