"""The operations on a GPU, as kernels of Triton; see :mod:`ovkd_mm.fused.blocks` for what each returns.

A program reads a tile of positions (of all images) and channels: long in the direction in which numbers lie side by
side in memory. Sums are float32 of a tile, then joined by torch, so that they do not depend on the order of programs.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..functional import full_precision
from .blocks import Norm

__all__ = ['compare', 'compare_normalized', 'negatives']

TILE = 2048  # numbers

Result = TypeVar('Result')


class _Tiles:
    """How a feature is cut, and the arguments of a kernel that follow from it."""

    def __init__(self, feature: Tensor) -> None:
        images, self.channels = feature.shape[:2]
        inner = feature.numel() // (images * self.channels)
        self.positions = images * inner
        self.last = not feature.is_contiguous()
        columns = min(128, triton.next_power_of_2(self.channels)) if self.last else 1
        rows = TILE // columns
        self.grid = triton.cdiv(self.positions, rows), triton.cdiv(self.channels, columns)
        self.shape = dict(
            positions=self.positions, channels=self.channels, inner=inner, LAST=self.last, ROWS=rows, COLUMNS=columns
        )

    def counts(self, device: torch.device) -> Tensor:
        """How many positions a row of tiles has, shape ``(rows, 1)``."""
        rows = self.shape['ROWS']
        starts = torch.arange(self.grid[0], device=device) * rows
        return (self.positions - starts).clamp(max=rows)[:, None]


def _alike(student: Tensor, teacher: Tensor) -> Tensor:
    """The teacher's feature, laid out as the student's."""
    if teacher.stride() == student.stride():
        return teacher
    return torch.empty_like(student, dtype=teacher.dtype).copy_(teacher)


def _on_its_device(function: Callable[..., Result]) -> Callable[..., Result]:
    """Launch what a function launches on the device of its first argument, which need not be the current one."""

    @functools.wraps(function)
    def launch(feature: Tensor, *args: Any) -> Result:
        with torch.cuda.device_of(feature):  # nothing on a CPU
            return function(feature, *args)

    return launch


@_on_its_device
def compare(
    student: Tensor, teacher: Tensor, margin: Tensor | None, gradient: Tensor | None, weight: float
) -> tuple[Tensor, Tensor]:
    """The partial L2 distance, summed."""
    tiles = _Tiles(student)
    totals = student.new_empty(tiles.grid, dtype=torch.float32)
    kept = student.new_empty(tiles.grid, dtype=torch.int32)
    _compare[tiles.grid](
        student, _alike(student, teacher), _vector(margin), gradient, totals, kept, None, None, None, None, None,
        2 * weight, **tiles.shape, MARGIN=margin is not None, NORM=False, LEARNS=gradient is not None,
    )  # fmt: skip
    return totals.double().sum().float(), student.numel() - kept.sum()


@_on_its_device
def compare_normalized(
    student: Tensor, norm: Norm, teacher: Tensor, margin: Tensor | None, gradient: Tensor | None, weight: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """:func:`compare` of a batch norm's output."""
    tiles = _Tiles(student)
    teacher = _alike(student, teacher)
    moments = _moments(student, tiles) if norm.given is None else full_precision(norm.given)
    mean, variance = moments
    inverse = (variance + norm.eps).rsqrt()
    factor = (inverse * norm.scale).float()
    totals = student.new_empty(tiles.grid, dtype=torch.float32)
    kept = student.new_empty(tiles.grid, dtype=torch.int32)
    sums = student.new_empty((2, tiles.grid[0], tiles.channels), dtype=torch.float32)
    given = student, teacher, _vector(margin)
    normed = mean, factor, norm.shift.float()
    _compare[tiles.grid](
        *given, None, totals, kept, *sums, *normed, 0.0,
        **tiles.shape, MARGIN=margin is not None, NORM=True, LEARNS=gradient is not None,
    )  # fmt: skip
    slopes = torch.zeros_like(moments)
    if gradient is not None:
        by_scale, by_shift = sums.double().sum(1).float()
        share = 0.0 if norm.given is not None else 1 / tiles.positions  # of what goes back through the moments
        back = share * by_shift, share * by_scale * inverse.square()
        _normalize_back[tiles.grid](
            *given, gradient, *normed, *back, 2 * weight, **tiles.shape, MARGIN=margin is not None
        )
        slopes = 2 * weight * torch.stack((by_scale * inverse, by_shift))
    return totals.double().sum().float(), student.numel() - kept.sum(), moments, slopes


@_on_its_device
def negatives(feature: Tensor) -> tuple[Tensor, Tensor]:
    """How many numbers of each channel are negative, and their sum."""
    tiles = _Tiles(feature)
    totals = feature.new_empty((tiles.grid[0], tiles.channels), dtype=torch.float32)
    counts = torch.empty_like(totals, dtype=torch.int32)
    _negatives[tiles.grid](feature, totals, counts, **tiles.shape)
    return counts.sum(0), totals.double().sum(0).float()


def _moments(feature: Tensor, tiles: _Tiles) -> Tensor:
    """Mean and variance of each channel (Chan et al. 1979: those of parts joined)."""
    means, squares = feature.new_empty((2, tiles.grid[0], tiles.channels), dtype=torch.float32)
    _tile_moments[tiles.grid](feature, means, squares, **tiles.shape)
    counts = tiles.counts(feature.device)
    mean = (counts * means.double()).sum(0) / tiles.positions
    variance = (squares + counts * (means - mean).square()).sum(0) / tiles.positions
    return torch.stack((mean, variance)).float()


def _vector(margin: Tensor | None) -> Tensor | None:
    return None if margin is None else margin.float()


@triton.jit
def _place(positions, channels, inner, LAST: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Where a program's tile lies in memory, its channels, and what of it is in the feature."""
    # In 64 bits, since a feature may have more numbers than 32 can count.
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (rows < positions)[:, None] & (columns < channels)[None, :]
    if LAST:
        at = rows[:, None] * channels + columns[None, :]
    else:
        at = (rows // inner * channels * inner + rows % inner)[:, None] + columns.to(tl.int64)[None, :] * inner
    return at, columns, inside


@triton.jit
def _difference(
    student,
    teacher,
    margin,
    mean,
    factor,
    shift,
    at,
    columns,
    channels,
    inside,
    MARGIN: tl.constexpr,
    NORM: tl.constexpr,
):
    """Student less target, 0 where skipped; what is learned; the student's feature less its mean."""
    known = columns < channels
    own = tl.load(student + at, mask=inside, other=0.0).to(tl.float32)
    centered = own
    if NORM:
        centered = own - tl.load(mean + columns, mask=known, other=0.0)[None, :]
        own = centered * tl.load(factor + columns, mask=known, other=0.0)[None, :]
        own += tl.load(shift + columns, mask=known, other=0.0)[None, :]
    target = tl.load(teacher + at, mask=inside, other=0.0).to(tl.float32)
    if MARGIN:
        lowest = tl.load(margin + columns, mask=known, other=0.0)[None, :]
        target = tl.where(target < lowest, lowest, target)  # a NaN stays one
    difference = own - target
    learns = ((target > 0) | (difference > 0)) & inside
    # Times 0, which a NaN survives.
    difference = tl.where(inside, difference * learns.to(tl.float32), 0.0)
    return difference, learns, centered


@triton.jit
def _compare(
    student, teacher, margin, gradient, totals, kept, by_scale, by_shift, mean, factor, shift, twice_weight,
    positions, channels, inner,
    LAST: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    MARGIN: tl.constexpr, NORM: tl.constexpr, LEARNS: tl.constexpr,
):  # fmt: skip
    at, columns, inside = _place(positions, channels, inner, LAST, ROWS, COLUMNS)
    difference, learns, centered = _difference(
        student, teacher, margin, mean, factor, shift, at, columns, channels, inside, MARGIN, NORM
    )
    program = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    tl.store(totals + program, tl.sum(difference * difference))
    tl.store(kept + program, tl.sum(learns.to(tl.int32)))
    if LEARNS:
        if NORM:
            sums = tl.program_id(0) * channels + columns
            tl.store(by_scale + sums, tl.sum(difference * centered, axis=0), mask=columns < channels)
            tl.store(by_shift + sums, tl.sum(difference, axis=0), mask=columns < channels)
        else:
            tl.store(gradient + at, twice_weight * difference, mask=inside)


@triton.jit
def _normalize_back(
    student, teacher, margin, gradient, mean, factor, shift, by_mean, by_spread, twice_weight,
    positions, channels, inner,
    LAST: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, MARGIN: tl.constexpr,
):  # fmt: skip
    at, columns, inside = _place(positions, channels, inner, LAST, ROWS, COLUMNS)
    difference, _, centered = _difference(
        student, teacher, margin, mean, factor, shift, at, columns, channels, inside, MARGIN, True
    )
    known = columns < channels
    back = difference - tl.load(by_mean + columns, mask=known, other=0.0)[None, :]
    back -= centered * tl.load(by_spread + columns, mask=known, other=0.0)[None, :]
    back *= tl.load(factor + columns, mask=known, other=0.0)[None, :] * twice_weight
    tl.store(gradient + at, back, mask=inside)


@triton.jit
def _tile_moments(
    feature, means, squares, positions, channels, inner,
    LAST: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    at, columns, inside = _place(positions, channels, inner, LAST, ROWS, COLUMNS)
    own = tl.load(feature + at, mask=inside, other=0.0).to(tl.float32)
    count = tl.minimum(positions - tl.program_id(0).to(tl.int64) * ROWS, ROWS).to(tl.float32)
    mean = tl.sum(own, axis=0) / count
    apart = tl.where(inside, own - mean[None, :], 0.0)
    sums = tl.program_id(0) * channels + columns
    tl.store(means + sums, mean, mask=columns < channels)
    tl.store(squares + sums, tl.sum(apart * apart, axis=0), mask=columns < channels)


@triton.jit
def _negatives(
    feature, totals, counts, positions, channels, inner,
    LAST: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    at, columns, inside = _place(positions, channels, inner, LAST, ROWS, COLUMNS)
    own = tl.load(feature + at, mask=inside, other=0.0).to(tl.float32)
    sums = tl.program_id(0) * channels + columns
    tl.store(totals + sums, tl.sum(tl.where(own > 0, 0.0, own), axis=0), mask=columns < channels)
    tl.store(counts + sums, tl.sum((own < 0).to(tl.int32), axis=0), mask=columns < channels)
