"""The partial L2 distance and its gradient in one pass over the features, on a CPU.

The plain formula, :func:`ovkd_mm.functional.partial_l2`, goes through memory some fifteen times, forward and backward.
Here blocks that fit into a cache are read once: the sum, the count of what is skipped and the gradient come from there.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .functional import partial_l2, skipped_by_partial_l2

__all__ = ['partial_l2_and_skipped']

BLOCK = 2**17  # numbers; three blocks of float32 are 1.5 MiB


def partial_l2_and_skipped(student: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The partial L2 distance, and how many positions it skips.

    Args:
        student: Student feature of any shape and floating dtype.
        target: Margin-ReLU'd teacher feature of the same shape, to which no gradient flows.

    Returns:
        The sum of the distance and the number of skipped positions, scalars.

    Raises:
        ValueError: If the shapes differ.
    """
    if student.device.type != 'cpu' or student.shape != target.shape or torch.compiler.is_compiling():
        return partial_l2(student, target), skipped_by_partial_l2(student.detach(), target).count_nonzero()
    return _PartialL2.apply(student, target)


class _PartialL2(torch.autograd.Function):
    """Keeps the gradient, one tensor of the feature's size, where autograd would keep the features and masks."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        ones = _in_memory_order(student)
        gradient = torch.empty_like(ones) if ctx.needs_input_grad[0] else None
        if target.stride() != ones.stride() or target.dtype != ones.dtype:
            target = torch.empty_like(ones).copy_(target)
        total = torch.zeros((), dtype=torch.float64)
        skipped = torch.zeros((), dtype=torch.long)
        parts = [_flat(one).split(BLOCK) for one in (ones, target, gradient) if one is not None]
        for one, other, *slope in zip(*parts, strict=True):
            difference = torch.sub(one, other, out=slope[0]) if slope else one - other
            skips = torch.maximum(other, difference) <= 0
            difference.masked_fill_(skips, 0)
            total += torch.dot(difference, difference)
            skipped += skips.count_nonzero()
            difference *= 2
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(skipped)
        return total.to(student.dtype), skipped

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_total, None


def _in_memory_order(x: Tensor) -> Tensor:
    """A tensor without holes: itself or a copy."""
    return x if x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last) else x.contiguous()


def _flat(x: Tensor) -> Tensor:
    """All numbers as they lie in memory."""
    return x.as_strided((x.numel(),), (1,))
