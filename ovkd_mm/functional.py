"""The mathematics of the method as pure functions on tensors.

Formulas are those of Heo et al., *A Comprehensive Overhaul of Feature Distillation*, ICCV 2019, section 3.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = ['batch_norm_margin', 'margin_relu', 'partial_l2', 'skipped_by_partial_l2']


def batch_norm_margin(weight: Tensor, bias: Tensor) -> Tensor:
    r"""Expected negative response of each channel that a batch norm puts out.

    A channel with scale :math:`\gamma` and shift :math:`\beta` is taken as :math:`x \sim N(\beta, \gamma^2)`, and the
    margin is :math:`E[x \mid x < 0] = \beta - s\,\varphi(\beta/s) / \Phi(-\beta/s)` with :math:`s = |\gamma|`
    (paper, section 3.1, equation 6). Where fewer than one response in a thousand is negative, the authors' code takes
    :math:`-3s`. A channel of zero scale puts out its shift alone: the margin is the shift where negative, else 0.

    Args:
        weight: Scale of the batch norm, shape ``(C,)``.
        bias: Shift of the batch norm, shape ``(C,)``.

    Returns:
        Margins of shape ``(C,)`` in the dtype of ``weight``; none is positive.
    """
    scale, mean = weight.detach().double().abs(), bias.detach().double()
    ratio = mean / scale.clamp_min(torch.finfo(scale.dtype).tiny)
    negative_share = torch.special.ndtr(-ratio)
    density = torch.exp(-0.5 * ratio.square()) / math.sqrt(2 * math.pi)
    expected = mean - scale * density / negative_share.clamp_min(1e-3)
    return torch.where(negative_share > 1e-3, expected, -3 * scale).to(weight.dtype)


def margin_relu(x: Tensor, margin: Tensor) -> Tensor:
    r"""Margin ReLU, :math:`\sigma_m(x) = \max(x, m)` with one margin per channel (paper, equation 3).

    Args:
        x: Pre-activation feature, shape ``(N, C, ...)``.
        margin: Negative margins, shape ``(C,)``.

    Returns:
        Tensor of the shape of ``x``.
    """
    return torch.maximum(x, margin.to(x.dtype).view(1, -1, *[1] * (x.dim() - 2)))


def partial_l2(student: Tensor, teacher: Tensor, margin: Tensor | None = None, reduction: str = 'sum') -> Tensor:
    r"""Partial L2 distance: positions that the teacher's ReLU blocks count only where the student is above them.

    .. math:: d_p(T, S) = \sum_i \begin{cases} 0 & S_i \le T_i \le 0 \\ (T_i - S_i)^2 & \text{otherwise}\end{cases}

    (paper, equation 4). The gradient flows to the student alone.

    Args:
        student: Student feature in the teacher's shape, ``(N, C, ...)``.
        teacher: Teacher feature of the same shape; pre-activation where ``margin`` is given, else margin-ReLU'd.
        margin: Negative margins, shape ``(C,)``; ``None`` where the teacher feature has passed the margin ReLU already.
        reduction: ``'sum'``, ``'mean'`` (over every position, skipped ones included) or ``'none'``.

    Returns:
        A scalar, or a tensor of the shape of ``student`` for ``'none'``.

    Raises:
        ValueError: If the shapes differ or ``reduction`` is none of the three.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f'partial_l2 needs equal shapes, got student {tuple(student.shape)} and teacher {tuple(teacher.shape)}'
        )
    if reduction not in ('sum', 'mean', 'none'):
        raise ValueError(f"reduction must be 'sum', 'mean' or 'none', got {reduction!r}")
    target = teacher.detach()
    if margin is not None:
        target = margin_relu(target, margin)
    distance = F.mse_loss(student, target, reduction='none') * ~skipped_by_partial_l2(student, target)
    return {'sum': distance.sum, 'mean': distance.mean, 'none': lambda: distance}[reduction]()


def skipped_by_partial_l2(student: Tensor, target: Tensor) -> Tensor:
    """The positions where the partial L2 distance is 0 whatever the difference: ``student <= target <= 0``.

    Args:
        student: Student feature in the teacher's shape, ``(N, C, ...)``.
        target: Margin-ReLU'd teacher feature of the same shape.

    Returns:
        Boolean tensor of the same shape.
    """
    return (student <= target) & (target <= 0)
