"""What a trace notes of one call of a module, and of the tensors that went in and came out."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.autograd.graph import Node

__all__ = ['Call', 'Value', 'split_item']


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor as it was when the trace saw it: later operations may write into it and give it another node."""

    tensor: Tensor
    node: Node | None
    number: int
    version: int

    @classmethod
    def of(cls, tensor: Tensor) -> 'Value':
        """The tensor as it is now."""
        return cls(tensor, tensor.grad_fn, tensor.output_nr, tensor._version)

    @property
    def overwritten(self) -> bool:
        """Whether something wrote into the tensor after the trace saw it."""
        return self.tensor._version != self.version


@dataclass(eq=False)
class Call:
    """One call of one module; ``start`` and ``end`` order all calls of the forward, of which some may never end.

    ``output`` is the returned value if that is one tensor. Else ``outputs`` are the tensors in it, even nested ones,
    and if a path such as ``'backbone[2]'`` asks for one of them, it is ``output`` and ``item`` is its index.
    """

    path: str
    module: nn.Module
    index: int
    input: Value | None
    start: int
    output: Value | None = None
    outputs: tuple[Value, ...] = ()
    item: int | None = None
    end: float = math.inf

    @property
    def has_weights(self) -> bool:
        """Whether the module holds weights of a convolution or a linear layer, not the scales of a norm alone."""
        return any(parameter.dim() > 1 for parameter in self.module.parameters())

    def value(self, side: Literal['input', 'output']) -> Value:
        """The tensor at one side.

        Raises:
            ValueError: If there is not one tensor.
        """
        value = self.input if side == 'input' else self.output
        if value is None:
            raise ValueError(f'the {side} of {self.path!r} is not one tensor')
        return value


def split_item(path: str) -> tuple[str, int | None]:
    """A path and, if it ends in an index as ``'backbone[2]'`` does, the index of the tensor."""
    found = re.fullmatch(r'(.*)\[(\d+)\]', path)
    return (found[1], int(found[2])) if found else (path, None)
