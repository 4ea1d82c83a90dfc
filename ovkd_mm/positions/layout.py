"""How a feature lies in memory: NCHW, NHWC or a row of tokens."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

__all__ = ['NCHW', 'Layout', 'layout_of']

Size = tuple[int, int]

STRIDES = range(1, 65)
MAX_EXTRA_TOKENS = 8  # a class token, a distillation token, registers


@dataclass(frozen=True)
class Layout:
    """How a feature map is laid out.

    Attributes:
        order: ``'NCHW'``, ``'NHWC'``, or ``'tokens'``, shape ``(N, extra + H * W, C)``.
        grid: Of tokens, ``(H, W)``, which their tensor does not tell, at ``input_size``.
        extra: Of tokens, how many without a position (a class token, registers) come first.
        input_size: Of tokens, ``(H, W)`` of the traced input.
    """

    order: Literal['NCHW', 'NHWC', 'tokens'] = 'NCHW'
    grid: Size | None = None
    extra: int = 0
    input_size: Size | None = None

    def to_nchw(self, feature: Tensor, input_size: Sequence[int] | None = None) -> Tensor:
        """A view of a feature as ``(N, C, H, W)``, without the tokens that have no position.

        Args:
            feature: The tensor.
            input_size: ``(H, W)`` of the input that it was computed from; by default that of the trace.

        Raises:
            ValueError: If the feature has another number of tokens than that input gives.
        """
        if self.order == 'NHWC':
            return feature.permute(0, 3, 1, 2)
        if self.grid is None or self.input_size is None:
            return feature
        tokens = feature[:, self.extra :]
        size = self.input_size if input_size is None else (input_size[0], input_size[1])
        grids = [self.grid] if size == self.input_size else _grids_at(size, self.grid, self.input_size)
        grid = next((grid for grid in grids if math.prod(grid) == tokens.shape[1]), None)
        if grid is None:
            inputs = '' if size == self.input_size else f' from inputs of {_by(size)} instead of {_by(self.input_size)}'
            raise ValueError(
                f'the trace saw {self.extra} + {_by(self.grid)} tokens, the training has {feature.shape[1]}{inputs}: '
                'choose a place with one token for each patch of the image, or set input_shape to the size of the '
                'training inputs'
            )
        return tokens.transpose(1, 2).unflatten(2, grid)

    def __str__(self) -> str:
        return self.order if self.grid is None else f'{self.extra} + {_by(self.grid)} tokens'


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


def _by(size: Sequence[int]) -> str:
    return 'x'.join(map(str, size))


def _strided(size: Sequence[int], stride: int) -> tuple[Size, Size]:
    """What a stride makes of an input, rounded down and up."""
    height, width = size
    return (height // stride, width // stride), (-(-height // stride), -(-width // stride))


@functools.cache
def _grids(height: int, width: int) -> set[Size]:
    return {grid for stride in STRIDES for grid in _strided((height, width), stride)}


def _grids_at(size: Size, grid: Size, input_size: Size) -> list[Size]:
    """What the strides that make ``grid`` of an input of ``input_size`` make of one of another size.

    No other stride is asked: a quarter of the tokens (MAE's) is not a coarser grid.
    """
    strides = [stride for stride in STRIDES if grid in _strided(input_size, stride)]
    return [one for stride in strides for one in _strided(size, stride)]


def _is_grid(size: Sequence[int], input_size: Sequence[int]) -> bool:
    return tuple(size) in _grids(*input_size)


def _tokens(count: int, input_size: Sequence[int]) -> Layout:
    """The grid that leaves the fewest tokens over; NCHW, which changes nothing, where none leaves few."""
    grids = [grid for grid in _grids(*input_size) if 1 < math.prod(grid) <= count <= math.prod(grid) + MAX_EXTRA_TOKENS]
    if not grids:
        return NCHW
    grid = max(grids, key=lambda grid: (math.prod(grid), grid))
    return Layout('tokens', grid, count - math.prod(grid), (input_size[0], input_size[1]))
