"""The operations and their gradients."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..functional import full_precision, margin_relu, partial_l2, skipped_by_partial_l2
from . import blocks
from .gpu import kernels_for

__all__ = ['can_fuse', 'negatives', 'normalized_partial_l2', 'partial_l2_and_skipped']

# torch.compiler.is_compiling came after torch 2.1, whose private function later versions deprecate.
_is_compiling = getattr(torch.compiler, 'is_compiling', None) or torch._utils.is_compiling


def can_fuse(feature: Tensor) -> bool:
    """Whether there is an operation for such a feature; else there are the plain formulas."""
    return _backend(feature) is not None


def _backend(feature: Tensor) -> ModuleType | None:
    if feature.dim() < 2 or feature.numel() == 0 or _is_compiling():
        return None
    return blocks if feature.device.type == 'cpu' else kernels_for(feature)


def _known_backend(feature: Tensor) -> ModuleType:
    backend = _backend(feature)
    if backend is None:
        raise ValueError(f'no operation for {feature.dtype} on {feature.device}; ask can_fuse first')
    return backend


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
    if can_fuse(student) and student.shape == teacher.shape:
        return _PartialL2.apply(student, teacher, margin, weight)
    target = teacher if margin is None else margin_relu(teacher, margin)
    return weight * partial_l2(student, target), skipped_by_partial_l2(student, target).count_nonzero()


def normalized_partial_l2(
    student: Tensor, norm: nn.BatchNorm2d, teacher: Tensor, margin: Tensor | None = None, weight: float = 1.0
) -> tuple[Tensor, Tensor]:
    """:func:`partial_l2_and_skipped` of ``norm(student)``, which updates its running statistics but makes no tensor.

    Args:
        student: What the batch norm takes, shape ``(N, C, H, W)``; :func:`can_fuse` holds.
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
        _track(norm, moments, student.numel() // student.shape[1])
    return total, skipped


def negatives(feature: Tensor) -> tuple[Tensor, Tensor]:
    """How many numbers of each channel are negative, and their sum.

    Args:
        feature: Shape ``(N, C, ...)``.

    Returns:
        Counts (int64) and sums (at least float32), shape ``(C,)``.
    """
    backend = _backend(feature)
    if backend:
        return backend.negatives(_dense(feature))
    negative, dims = feature < 0, [dim for dim in range(feature.dim()) if dim != 1]
    return negative.sum(dims), (feature * negative).sum(dims, dtype=full_precision(feature[:0]).dtype)


class _PartialL2(torch.autograd.Function):
    """Keeps the gradient, one tensor of the feature's size, where autograd would keep features and masks."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, margin: Tensor | None, weight: float
    ) -> tuple[Tensor, Tensor]:
        student = _dense(student)
        gradient = _room_for_gradient(student) if ctx.needs_input_grad[0] else None
        total, skipped = _known_backend(student).compare(student, teacher, margin, gradient, weight)
        ctx.save_for_backward(gradient)
        ctx.dtype = student.dtype
        ctx.mark_non_differentiable(skipped)
        return weight * total, skipped

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return _times(gradient, grad_total).to(ctx.dtype), None, None, None


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
        student = _dense(student)
        gradient = _room_for_gradient(student) if any(ctx.needs_input_grad) else None
        norm = blocks.Norm(full_precision(scale), full_precision(shift), given, eps)
        total, skipped, moments, slopes = _known_backend(student).compare_normalized(
            student, norm, teacher, margin, gradient, weight
        )
        ctx.save_for_backward(gradient, slopes)
        ctx.dtype = student.dtype
        ctx.mark_non_differentiable(skipped, moments)
        return weight * total, skipped, moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gradient, slopes = ctx.saved_tensors
        by_scale, by_shift = slopes * grad_total
        return _times(gradient, grad_total).to(ctx.dtype), by_scale, by_shift, *[None] * 5


def _times(gradient: Tensor, factor: Tensor) -> Tensor:
    """The product; on a CPU, where looking at the factor costs no wait, no copy is made if the factor is 1."""
    return gradient if factor.device.type == 'cpu' and factor == 1 else gradient * factor


def _dense(feature: Tensor) -> Tensor:
    """A feature without holes in memory."""
    if feature.is_contiguous() or feature.is_contiguous(memory_format=torch.channels_last):
        return feature
    return feature.contiguous()


def _room_for_gradient(student: Tensor) -> Tensor:
    """An empty tensor; float32 for float16, in which what GradScaler has not scaled yet could vanish."""
    return torch.empty_like(student, dtype=torch.float32 if student.dtype == torch.float16 else student.dtype)


def _track(norm: nn.BatchNorm2d, moments: Tensor, count: int) -> None:
    """Update running statistics as ``torch.nn.BatchNorm2d`` does."""
    tracked = dict(norm.named_buffers())
    batches = tracked['num_batches_tracked'].add_(1)
    part = 1 / batches.item() if norm.momentum is None else norm.momentum
    mean, variance = moments.to(tracked['running_mean'].dtype)
    tracked['running_mean'].lerp_(mean, part)
    tracked['running_var'].lerp_(variance * count / (count - 1), part)
