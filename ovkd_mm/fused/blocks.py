"""The operations on a CPU, of blocks that fit into a cache."""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from ..functional import full_precision

__all__ = ['Norm', 'compare', 'compare_normalized', 'negatives']

BLOCK = 2**18  # numbers; a block of float32 is 1 MiB, and sums of larger ones lose digits

Block = tuple[slice, slice, slice]  # of images, channels and positions


class Norm(NamedTuple):
    """A batch norm.

    Attributes:
        scale: Shape ``(C,)``, at least float32.
        shift: The same.
        given: Means and variances to normalize by, shape ``(2, C)``; None for those of the batch.
        eps: What is added to the variance.
    """

    scale: Tensor
    shift: Tensor
    given: Tensor | None
    eps: float


def compare(
    student: Tensor, teacher: Tensor, margin: Tensor | None, gradient: Tensor | None, weight: float
) -> tuple[Tensor, Tensor]:
    """The partial L2 distance, summed.

    Args:
        student: Shape ``(N, C, ...)``, without holes in memory.
        teacher: Of the same shape.
        margin: Shape ``(C,)``, or None.
        gradient: Where to write ``weight`` times the gradient, laid out as ``student``; None if nobody needs it.
        weight: Of the gradient alone.

    Returns:
        The sum, at least float32, and the number of skipped positions.
    """
    own, target = _by_channel(student), _by_channel(teacher)
    slope = None if gradient is None else _by_channel(gradient)
    distance = _Distance()
    for block in itertools.chain(*_blocks(student)):
        difference = distance.add(full_precision(own[block]), target[block], _part(margin, block))
        if slope is not None:
            torch.mul(difference, 2 * weight, out=slope[block])
    return distance.total.to(difference.dtype), distance.skipped


def compare_normalized(
    student: Tensor, norm: Norm, teacher: Tensor, margin: Tensor | None, gradient: Tensor | None, weight: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """:func:`compare` of a batch norm's output.

    Args:
        student: What the batch norm takes; the gradient is that by it.
        norm: The batch norm.
        teacher: As in :func:`compare`, and so the others.
        margin: Shape ``(C,)``, or None.
        gradient: Where to write the gradient.
        weight: Of the gradients.

    Returns:
        Beside the sum and the skipped positions: means and variances that were normalized by, shape ``(2, C)``, and
        ``weight`` times the gradients by scale and shift, shape ``(2, C)``.
    """
    own, target = _by_channel(student), _by_channel(teacher)
    slope = None if gradient is None else _by_channel(gradient)
    scale, shift = norm.scale[:, None], norm.shift[:, None]
    if norm.given is None:
        moments = torch.zeros(2, *scale.shape, dtype=scale.dtype)
    else:
        moments = full_precision(norm.given)[..., None]
    slopes = torch.zeros(2, *scale.shape, dtype=scale.dtype)
    count = student.numel() // len(scale)
    distance = _Distance()
    for blocks in _blocks(student):
        channels = blocks[0][1]
        if norm.given is None:
            moments[:, channels] = _moments(own, blocks)
        mean, variance = moments[:, channels]
        inverse = (variance + norm.eps).rsqrt()
        factor = inverse * scale[channels]
        by_scale, by_shift = slopes[:, channels]
        for block in blocks:
            centered = full_precision(own[block]) - mean
            # Not addcmul, which takes several times as long as both where its tensors are not all of one shape.
            normalized = (centered * factor).add_(shift[channels])
            difference = distance.add(normalized, target[block], _part(margin, block))
            if slope is not None:
                by_shift += difference.sum((0, 2))[:, None]
                by_scale += centered.mul_(difference).sum((0, 2))[:, None]
                slope[block] = difference
        if slope is None:
            continue
        factor = 2 * weight * factor
        pull = factor * by_scale * inverse.square() / -count
        push = factor * by_shift / -count - pull * mean
        for block in blocks:
            back = full_precision(slope[block])
            if norm.given is not None:
                torch.mul(back, factor, out=slope[block])
                continue
            made = (full_precision(own[block]) * pull).add_(push)  # mean and variance have a gradient, too
            if slope.dtype == made.dtype:
                torch.add(made, back * factor, out=slope[block])
            else:  # torch 2.1 casts nothing on its way out
                slope[block] = made.add_(back * factor)
        by_scale *= 2 * weight * inverse
        by_shift *= 2 * weight
    return distance.total.to(scale.dtype), distance.skipped, moments.squeeze(2), slopes.squeeze(2)


def negatives(feature: Tensor) -> tuple[Tensor, Tensor]:
    """How many numbers of each channel are negative, and their sum.

    Args:
        feature: Shape ``(N, C, ...)``, without holes in memory.
    """
    values = _by_channel(feature)
    count = torch.zeros(feature.shape[1], dtype=torch.long)
    total = torch.zeros(feature.shape[1], dtype=full_precision(feature[:0]).dtype)
    for block in itertools.chain(*_blocks(feature)):
        negative = full_precision(values[block]).clamp(max=0)
        total[block[1]] += negative.sum((0, 2))
        count[block[1]] += negative.lt_(0).sum((0, 2)).long()
    return count, total


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


def _by_channel(feature: Tensor) -> Tensor:
    """As ``(N, C, positions)``."""
    return feature.flatten(2) if feature.dim() > 2 else feature[..., None]


def _part(margins: Tensor | None, block: Block) -> Tensor | None:
    """Of the channels of a block, shape ``(c, 1)``."""
    return None if margins is None else full_precision(margins[block[1], None])


def _blocks(x: Tensor) -> list[list[Block]]:
    """Blocks of about :data:`BLOCK` numbers, those with the same channels together.

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
