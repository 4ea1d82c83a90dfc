"""What OFD does to a pair of features, block by block, on a CPU.

One after another the connector's batch norm, the margin ReLU, the partial L2 distance and their backward passes go
through memory some twenty-five times. Here loss, skipped positions and gradient are made of blocks that fit into a
cache. :mod:`ovkd_mm.functional` and ``torch.nn.BatchNorm2d`` define what is computed.
"""

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .functional import full_precision, margin_relu, partial_l2, skipped_by_partial_l2

__all__ = ['can_pass_once', 'negatives', 'normalized_partial_l2', 'partial_l2_and_skipped']

BLOCK = 2**18  # numbers; a block of float32 is 1 MiB

Block = tuple[slice, slice, slice]  # of images, channels and positions


def can_pass_once(feature: Tensor) -> bool:
    """Whether a feature is compared block by block; else by the plain formula."""
    return (
        feature.device.type == 'cpu' and feature.dim() > 1 and feature.numel() > 0 and not torch.compiler.is_compiling()
    )


def partial_l2_and_skipped(
    student: Tensor, teacher: Tensor, margin: Tensor | None = None, weight: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The partial L2 distance, and how many positions it skips.

    Args:
        student: Student feature of any floating dtype, shape ``(N, C, ...)``.
        teacher: Teacher feature of the same shape, to which no gradient flows.
        margin: Of the margin ReLU, shape ``(C,)``; None where the teacher's feature has passed it.
        weight: Weight of the distance.

    Returns:
        The weighted sum of the distance and the number of skipped positions, scalars.

    Raises:
        ValueError: If the shapes differ.
    """
    if can_pass_once(student) and student.shape == teacher.shape:
        return _PartialL2.apply(student, teacher, margin, weight)
    target = teacher if margin is None else margin_relu(teacher, margin)
    return weight * partial_l2(student, target), skipped_by_partial_l2(student.detach(), target).count_nonzero()


def normalized_partial_l2(
    student: Tensor, norm: nn.BatchNorm2d, teacher: Tensor, margin: Tensor | None = None, weight: float = 1.0
) -> tuple[Tensor, Tensor]:
    """:func:`partial_l2_and_skipped` of ``norm(student)``, which updates its running statistics but makes no tensor.

    Args:
        student: What the batch norm takes, shape ``(N, C, H, W)``; :func:`can_pass_once` holds.
        norm: The batch norm, with scale, shift and running statistics.
        teacher: Teacher feature of the same shape.
        margin: Of the margin ReLU, shape ``(C,)``.
        weight: Weight of the distance.

    Returns:
        The weighted sum of the distance and the number of skipped positions, scalars.
    """
    tracked = dict(norm.named_buffers())
    given = None if norm.training else torch.stack((tracked['running_mean'], tracked['running_var']))
    total, skipped, moments = _NormalizedPartialL2.apply(
        student, norm.weight, norm.bias, teacher, margin, weight, given, norm.eps
    )
    if norm.training:
        _track(norm, moments.squeeze(2), student.numel() // student.shape[1])
    return total, skipped


def negatives(feature: Tensor) -> tuple[Tensor, Tensor]:
    """How many numbers of each channel are negative, and their sum.

    Args:
        feature: Shape ``(N, C, ...)``.

    Returns:
        Counts (int64) and sums (at least float32), shape ``(C,)``.
    """
    dtype = full_precision(feature[:0]).dtype
    if not can_pass_once(feature):
        negative, dims = feature < 0, [dim for dim in range(feature.dim()) if dim != 1]
        return negative.sum(dims), (feature * negative).sum(dims, dtype=dtype)
    one = _by_channel(feature)
    count = torch.zeros(feature.shape[1], dtype=torch.long)
    total = torch.zeros(feature.shape[1], dtype=dtype)
    for block in itertools.chain(*_blocks(feature)):
        negative = full_precision(one[block]).clamp(max=0)
        total[block[1]] += negative.sum((0, 2))
        count[block[1]] += negative.lt_(0).sum((0, 2)).long()
    return count, total


class _PartialL2(torch.autograd.Function):
    """Keeps the gradient, one tensor of the feature's size, where autograd would keep features and masks."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, margin: Tensor | None, weight: float
    ) -> tuple[Tensor, Tensor]:
        student, gradient = _prepare(student, ctx.needs_input_grad[0])
        one, other = _by_channel(student), _by_channel(teacher)
        slope = None if gradient is None else _by_channel(gradient)
        distance = _Distance()
        for block in itertools.chain(*_blocks(student)):
            difference = distance.add(full_precision(one[block]), other[block], _part(margin, block))
            if slope is not None:
                torch.mul(difference, 2 * weight, out=slope[block])
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(distance.skipped)
        return weight * distance.total.to(difference.dtype), distance.skipped

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return _times(gradient, grad_total), None, None, None


class _NormalizedPartialL2(torch.autograd.Function):
    """The same of a batch norm's output; the gradient that is kept is that of its input."""

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        scale: Tensor,
        shift: Tensor,
        teacher: Tensor,
        margin: Tensor | None,
        weight: float,
        given: Tensor | None,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        student, gradient = _prepare(student, any(ctx.needs_input_grad))
        one, other = _by_channel(student), _by_channel(teacher)
        slope = None if gradient is None else _by_channel(gradient)
        scale, shift = full_precision(scale)[:, None], full_precision(shift)[:, None]
        moments = torch.zeros(2, *scale.shape, dtype=scale.dtype) if given is None else full_precision(given)[..., None]
        slopes = torch.zeros(2, *scale.shape, dtype=scale.dtype)
        count = student.numel() // len(scale)
        distance = _Distance()
        for blocks in _blocks(student):
            channels = blocks[0][1]
            if given is None:
                moments[:, channels] = _moments(one, blocks)
            mean, variance = moments[:, channels]
            inverse = (variance + eps).rsqrt()
            factor = inverse * scale[channels]
            by_scale, by_shift = slopes[:, channels]
            for block in blocks:
                centered = full_precision(one[block]) - mean
                normalized = (centered * factor).add_(shift[channels])
                difference = distance.add(normalized, other[block], _part(margin, block))
                if slope is not None:
                    by_shift += difference.sum((0, 2))[:, None]
                    by_scale += centered.mul_(difference).sum((0, 2))[:, None]
                    slope[block] = difference
            if slope is None:
                continue
            for block in blocks:
                back = full_precision(slope[block])
                if given is None:
                    centered = full_precision(one[block]) - mean
                    back = torch.addcmul(back - by_shift / count, centered, by_scale * inverse.square() / -count)
                torch.mul(back, 2 * weight * factor, out=slope[block])
            by_scale *= 2 * weight * inverse
            by_shift *= 2 * weight
        ctx.save_for_backward(gradient, slopes)
        ctx.mark_non_differentiable(distance.skipped, moments)
        return weight * distance.total.to(scale.dtype), distance.skipped, moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gradient, slopes = ctx.saved_tensors
        by_scale, by_shift = slopes.squeeze(2) * grad_total
        return _times(gradient, grad_total), by_scale, by_shift, *[None] * 5


def _times(gradient: Tensor, factor: Tensor) -> Tensor:
    """A product; without a copy where nothing scales the loss further, which is the usual case."""
    return gradient if factor == 1 else gradient * factor


class _Distance:
    """Adds up what blocks come to."""

    def __init__(self) -> None:
        self.total = torch.zeros((), dtype=torch.float64)
        self.skipped = torch.zeros((), dtype=torch.long)

    def add(self, student: Tensor, teacher: Tensor, margin: Tensor | None) -> Tensor:
        """Student less target, 0 where skipped."""
        target = teacher.to(student.dtype)
        if margin is not None:
            target = torch.maximum(target, margin)
        difference = student - target
        # 1 or 0 in the features' dtype: masks of another are several times as slow.
        counts = torch.maximum(target, difference).gt_(0)
        difference *= counts
        numbers = difference.as_strided((difference.numel(),), (1,))  # as they lie in memory
        self.total += torch.dot(numbers, numbers)
        self.skipped += counts.numel() - counts.sum().long()
        return difference


def _moments(feature: Tensor, blocks: list[Block]) -> Tensor:
    """Mean and variance of each channel of some blocks (Chan et al. 1979: those of parts joined)."""
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for block in blocks:
        part = full_precision(feature[block])
        number = part.numel() // part.shape[1]
        own = part.mean((0, 2), keepdim=True)[0]
        apart = own - mean
        spread = (part - own).square_().sum((0, 2))[:, None]
        squares = squares + spread + apart.square() * (count * number / (count + number))
        mean = mean + apart * (number / (count + number))
        count += number
    return torch.stack((mean, squares / count))


def _track(norm: nn.BatchNorm2d, moments: Tensor, count: int) -> None:
    """Update running statistics as ``torch.nn.BatchNorm2d`` does."""
    tracked = dict(norm.named_buffers())
    batches = tracked['num_batches_tracked'].add_(1)
    part = 1 / batches.item() if norm.momentum is None else norm.momentum
    mean, variance = moments.to(tracked['running_mean'].dtype)
    tracked['running_mean'].lerp_(mean, part)
    tracked['running_var'].lerp_(variance * count / (count - 1), part)


def _prepare(student: Tensor, learns: bool) -> tuple[Tensor, Tensor | None]:
    """The student's feature without holes, and room for its gradient."""
    if not (student.is_contiguous() or student.is_contiguous(memory_format=torch.channels_last)):
        student = student.contiguous()
    return student, torch.empty_like(student) if learns else None


def _by_channel(feature: Tensor) -> Tensor:
    """As ``(N, C, positions)``."""
    return feature.flatten(2) if feature.dim() > 2 else feature[..., None]


def _part(margins: Tensor | None, block: Block) -> Tensor | None:
    """Of the channels of a block, shape ``(c, 1)``."""
    return None if margins is None else full_precision(margins[block[1], None])


def _blocks(x: Tensor) -> list[list[Block]]:
    """Blocks of about :data:`BLOCK` numbers, those with the same channels together, each without holes in memory.

    Where an image's channels lie one after another, a block has some channels of all images; where they lie side by
    side, all channels of some images or positions.
    """
    images, channels, positions = _by_channel(x).shape
    everything = slice(None)
    if x.is_contiguous():
        return [[(everything, part, everything)] for part in _parts(channels, BLOCK // (images * positions))]
    whole = _parts(images, BLOCK // (channels * positions))
    pieces = _parts(positions, BLOCK // channels) if len(whole) == images else [everything]
    return [[(some, everything, piece) for some in whole for piece in pieces]]


def _parts(length: int, step: int) -> list[slice]:
    step = max(step, 1)
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]
