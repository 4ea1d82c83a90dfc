"""How a feature lies in memory: NCHW, NHWC or a row of tokens."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

__all__ = ['NCHW', 'Layout', 'layout_of']

MAX_EXTRA_TOKENS = 8  # a class token, a distillation token, registers


@dataclass(frozen=True)
class Layout:
    """How a feature map is laid out.

    Attributes:
        order: ``'NCHW'``, ``'NHWC'``, or ``'tokens'``, shape ``(N, extra + H * W, C)``.
        grid: Of tokens, ``(H, W)``, which their tensor does not tell.
        extra: Of tokens, how many without a position (a class token, registers) come first.
    """

    order: Literal['NCHW', 'NHWC', 'tokens'] = 'NCHW'
    grid: tuple[int, int] | None = None
    extra: int = 0

    def to_nchw(self, feature: Tensor) -> Tensor:
        """A view of a feature as ``(N, C, H, W)``, without the tokens that have no position.

        Raises:
            ValueError: If the feature has another number of tokens than the traced one.
        """
        if self.order == 'NHWC':
            return feature.permute(0, 3, 1, 2)
        if self.grid is None:
            return feature
        tokens = feature[:, self.extra :]
        if tokens.shape[1] != math.prod(self.grid):
            height, width = self.grid
            raise ValueError(
                f'the trace saw {self.extra} + {height}x{width} tokens, the training has {feature.shape[1]}: set '
                'input_shape to the size of the training inputs, which must then all have that size'
            )
        return tokens.transpose(1, 2).unflatten(2, self.grid)

    def __str__(self) -> str:
        return self.order if self.grid is None else f'{self.extra} + {"x".join(map(str, self.grid))} tokens'


NCHW = Layout()


def layout_of(shape: Sequence[int], input_size: Sequence[int], channels_last: bool = False) -> Layout:
    """The layout of a tensor, told by its shape: the grid has the input's proportions.

    Args:
        shape: The tensor's, with a batch of one.
        input_size: ``(H, W)`` of the model's input.
        channels_last: What to assume where both orders of four dimensions fit: whether channels come last, as
            for linear layers and layer norms.

    Returns:
        The layout; NCHW for a tensor that is not a map.
    """
    if len(shape) == 3 and shape[0] == 1:
        return _tokens(shape[1], input_size)
    if len(shape) == 4:
        first, last = _is_grid(shape[2:], input_size), _is_grid(shape[1:3], input_size)
        if last and (channels_last or not first):
            return Layout('NHWC')
    return NCHW


@functools.cache
def _grids(height: int, width: int) -> set[tuple[int, int]]:
    """What strides of 1 to 64 make of the input, rounded down or up."""
    strides = range(1, 65)
    return {(height // s, width // s) for s in strides} | {(-(-height // s), -(-width // s)) for s in strides}


def _is_grid(size: Sequence[int], input_size: Sequence[int]) -> bool:
    return tuple(size) in _grids(*input_size)


def _tokens(count: int, input_size: Sequence[int]) -> Layout:
    """The grid that leaves the fewest tokens over; NCHW, which changes nothing, where none leaves few."""
    grids = [grid for grid in _grids(*input_size) if 1 < math.prod(grid) <= count <= math.prod(grid) + MAX_EXTRA_TOKENS]
    if not grids:
        return NCHW
    grid = max(grids, key=lambda grid: (math.prod(grid), grid))
    return Layout('tokens', grid, count - math.prod(grid))
