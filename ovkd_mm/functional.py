"""The mathematics of the methods as pure functions on tensors.

Where no other paper is named, formulas are those of Heo et al., *A Comprehensive Overhaul of Feature Distillation*,
ICCV 2019, section 3.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = [
    'attention_map',
    'batch_norm_margin',
    'by_distribution',
    'channel_correlation',
    'channel_wise_kl',
    'correlation_distance',
    'decoupled_kl',
    'full_precision',
    'gram_matrix',
    'margin_relu',
    'marginal_l2',
    'normalized_l1',
    'partial_l2',
    'skipped_by_partial_l2',
    'softened_kl',
    'standardized',
]


def batch_norm_margin(weight: Tensor, bias: Tensor) -> Tensor:
    r"""Expected negative response of each channel that a batch norm puts out.

    A channel with scale :math:`\gamma` and shift :math:`\beta` is taken as :math:`x \sim N(\beta, \gamma^2)`, and the
    margin is :math:`E[x \mid x < 0] = \beta - s\,\varphi(\beta/s) / \Phi(-\beta/s)` with :math:`s = |\gamma|`
    (paper, section 3.2). Where fewer than one response in a thousand is negative, the authors' code takes
    :math:`-3s`. A channel of zero scale puts out its shift alone: the margin is the shift where negative, else 0.

    Args:
        weight: Scale of the batch norm, shape ``(C,)``.
        bias: Shift of the batch norm, shape ``(C,)``.

    Returns:
        Margins of shape ``(C,)`` in the dtype of ``weight``; none is positive.

    Examples:
        A standard normal response that is negative is -0.80 on average; a shift of 2 makes negative ones rarer and
        smaller. Where scale is small beside shift hardly any is negative, and the margin is three scales:

        >>> batch_norm_margin(torch.tensor([1.0, 1.0, 0.1]), torch.tensor([0.0, 2.0, 2.0]))
        tensor([-0.7979, -0.3732, -0.3000])
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

    Examples:
        >>> margin_relu(torch.tensor([[-3.0, -0.2, 0.5]]), torch.tensor([-1.0, -1.0, -1.0]))
        tensor([[-1.0000, -0.2000,  0.5000]])
    """
    return torch.maximum(x, margin.to(x.dtype).view(1, -1, *[1] * (x.dim() - 2)))


def partial_l2(student: Tensor, teacher: Tensor, reduction: str = 'sum') -> Tensor:
    r"""Partial L2 distance: positions that the teacher's ReLU blocks count only where the student is above them.

    .. math:: d_p(T, S) = \sum_i \begin{cases} 0 & S_i \le T_i \le 0 \\ (T_i - S_i)^2 & \text{otherwise}\end{cases}

    (paper, equation 4). The gradient flows to the student alone.

    Args:
        student: Student feature in the teacher's shape, ``(N, C, ...)``.
        teacher: Margin-ReLU'd teacher feature of the same shape.
        reduction: ``'sum'`` or ``'none'``.

    Returns:
        A scalar, or a tensor of the shape of ``student`` for ``'none'``.

    Raises:
        ValueError: If the shapes differ or ``reduction`` is neither.

    Examples:
        The teacher's ReLU blocks the first three. A student below the teacher costs nothing there, one above does;
        the last is positive and costs on either side:

        >>> student, teacher = torch.tensor([[-3.0, -1.0, 2.0, -1.0]]), torch.tensor([[-1.0, -1.0, -1.0, 1.0]])
        >>> partial_l2(student, teacher, reduction='none')
        tensor([[0., 0., 9., 4.]])
        >>> partial_l2(student, teacher)
        tensor(13.)
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f'partial_l2 needs equal shapes, got student {tuple(student.shape)} and teacher {tuple(teacher.shape)}'
        )
    if reduction not in ('sum', 'none'):
        raise ValueError(f"reduction must be 'sum' or 'none', got {reduction!r}")
    target = teacher.detach()
    distance = F.mse_loss(student, target, reduction='none') * ~skipped_by_partial_l2(student, target)
    return distance if reduction == 'none' else distance.sum()


def skipped_by_partial_l2(student: Tensor, target: Tensor) -> Tensor:
    """The positions where the partial L2 distance is 0 whatever the difference: ``student <= target <= 0``.

    Args:
        student: Student feature in the teacher's shape, ``(N, C, ...)``.
        target: Margin-ReLU'd teacher feature of the same shape.

    Returns:
        Boolean tensor of the same shape.
    """
    return (student <= target) & (target <= 0)


def full_precision(x: Tensor) -> Tensor:
    """``x`` in float32, or wider if it is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def softened_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    r"""Divergence of softened class probabilities (Hinton et al. 2015, https://arxiv.org/abs/1503.02531, section 2).

    .. math:: T^2 \, KL(\mathrm{softmax}(t / T) \,\|\, \mathrm{softmax}(s / T))

    The factor keeps the gradient's size as the temperature changes.

    Args:
        student: Logits of shape ``(..., C)``.
        teacher: Logits of the same shape.
        temperature: ``T``.

    Returns:
        One value per distribution, shape ``(...)``.
    """
    student = F.log_softmax(student / temperature, dim=-1)
    teacher = F.log_softmax(teacher.detach() / temperature, dim=-1)
    return temperature**2 * F.kl_div(student, teacher, reduction='none', log_target=True).sum(-1)


def attention_map(x: Tensor) -> Tensor:
    r"""Where a feature is active: :math:`Q / \|Q\|_2` with :math:`Q = \sum_c |x_c|^2`.

    Zagoruyko & Komodakis, ICLR 2017, https://arxiv.org/abs/1612.03928, section 3.1. A feature of zeros has a map of
    zeros.

    Args:
        x: Feature of shape ``(N, C, H, W)``.

    Returns:
        Maps of unit norm, shape ``(N, 1, H, W)``.

    Examples:
        Two channels of 1x2; the sums of squares 3 and 4 are divided by their norm, 5:

        >>> attention_map(torch.tensor([[[[1.0, 2.0]], [[2.0**0.5, 0.0]]]]))
        tensor([[[[0.6000, 0.8000]]]])
    """
    energy = x.square().sum(1, keepdim=True)  # (N, 1, H, W)
    return F.normalize(energy.flatten(1), dim=1).view_as(energy)


def gram_matrix(first: Tensor, last: Tensor) -> Tensor:
    r"""Flow of the solution procedure: :math:`G_{ij} = \sum_{s} x_{i,s} y_{j,s} / (H W)` over all positions.

    Yim et al., CVPR 2017, *A Gift from Knowledge Distillation*, equation 1. The larger of two sizes is max-pooled to
    the smaller, as they do.

    Args:
        first: Feature of shape ``(N, A, H, W)``.
        last: Feature of shape ``(N, B, H', W')``.

    Returns:
        Matrices of shape ``(N, A, B)``.
    """
    size = tuple(map(min, first.shape[2:], last.shape[2:]))
    first, last = (x if tuple(x.shape[2:]) == size else F.adaptive_max_pool2d(x, size) for x in (first, last))
    return torch.einsum('nahw,nbhw->nab', first, last) / math.prod(size)


def normalized_l1(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Distance of factors of unit length, :math:`| t / \|t\|_2 - s / \|s\|_2 |`.

    Kim et al., NeurIPS 2018, https://arxiv.org/abs/1802.04977, section 3.2, with p = 1.

    Args:
        student: Factors of shape ``(N, ...)``.
        teacher: Factors of the same shape.

    Returns:
        One value per entry, in the shape of ``student``.
    """
    unit_student, unit_teacher = (F.normalize(x.flatten(1), dim=1) for x in (student, teacher.detach()))
    return (unit_teacher - unit_student).abs().view_as(student)


def marginal_l2(student: Tensor, active: Tensor, margin: float = 1.0) -> Tensor:
    r"""How far a feature is from lying on the wanted side of zero by at least a margin, squared.

    .. math:: \rho \max(m - s, 0)^2 + (1 - \rho) \max(m + s, 0)^2

    Heo et al., AAAI 2019, https://arxiv.org/abs/1811.03233, the alternative loss, which has a gradient.

    Args:
        student: Pre-activation feature of shape ``(N, C, ...)``.
        active: :math:`\rho`: 1 where the teacher's neuron is active, else 0; of the same shape.
        margin: :math:`m`.

    Returns:
        One value per entry, in the shape of ``student``.
    """
    sign = 2 * active.detach().to(student.dtype) - 1
    return (margin - sign * student).clamp_min(0).square()


def by_distribution(logits: Tensor, classes: int | None) -> Tensor:
    """Reshape ``(N, anchors * classes, ...)`` to ``(N, anchors, ..., classes)``; an anchor's classes are adjacent.

    Args:
        logits: Class scores.
        classes: How many channels make a distribution, background included; all of them if ``None``.

    Raises:
        ValueError: If the channels are not a multiple of ``classes``, or there is one class alone.
    """
    classes = logits.shape[1] if classes is None else classes
    if classes < 2:
        raise ValueError(
            'logits of one class are no distribution, so there is nothing to learn from them: compare features, by a '
            "method such as '_base_/methods/ofd.py', or give the model a channel for the background"
        )
    if logits.shape[1] % classes:
        raise ValueError(
            f'{logits.shape[1]} channels of logits are not a multiple of classes={classes}; in model.logits set '
            'classes to what one anchor has, background included'
        )
    return logits.unflatten(1, (-1, classes)).movedim(2, -1)


def standardized(x: Tensor, dims: Sequence[int], least: float = 0.0) -> Tensor:
    """Mean 0 and (unbiased) deviation 1 over some dimensions; what does not vary becomes 0, as does a single value.

    Args:
        x: Tensor of any shape.
        dims: Dimensions over which to standardize.
        least: A deviation below this counts as this, so that where nothing varies the gradient stays finite.
    """
    dims = tuple(dims)
    if math.prod(x.shape[dim] for dim in dims) == 1:
        return x - x.detach()  # has no deviation
    deviation, mean = torch.std_mean(x, dims, keepdim=True)
    return (x - mean) / (deviation.clamp(min=least) + 1e-6)


def channel_wise_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    r"""KL divergence between two channels' activations as distributions over positions.

    .. math:: T^2 \sum_i p_i(t) \log \frac{p_i(t)}{p_i(s)}, \quad p(x) = \mathrm{softmax}(x / T)

    over the positions of a channel (Shu et al., ICCV 2021, https://arxiv.org/abs/2011.13256, equation 4).

    Args:
        student: Feature or logits of shape ``(N, C, H, W)``.
        teacher: Of the same shape.
        temperature: ``T``.

    Returns:
        The contribution of each position, shape ``(N, C, H, W)``.
    """
    learned, target = ((x.flatten(2) / temperature).log_softmax(-1) for x in (student, teacher.detach()))
    return (temperature**2 * target.exp() * (target - learned)).view_as(student)


def correlation_distance(x: Tensor, y: Tensor, least: float = 0.0) -> Tensor:
    """1 minus the Pearson correlation of the rows of two matrices, shape ``(M,)``.

    Args:
        x: Shape ``(M, K)``.
        y: The same.
        least: Where the deviation of a row of ``x`` is a smaller part of its root mean square, it counts as this part,
            so that where nothing varies the gradient stays finite.
    """
    floor = (least * x.detach().norm(dim=1)).clamp(min=1e-8)
    x, y = (one - one.mean(1, keepdim=True) for one in (x, y))
    sizes = torch.maximum(x.norm(dim=1), floor) * y.norm(dim=1).clamp(min=1e-8)
    return 1 - (x * y).sum(1) / sizes


def channel_correlation(x: Tensor) -> Tensor:
    r"""How similar channels are to each other: rows of :math:`x x^\top` over all positions, each of unit length.

    Liu et al., ICCV 2021, https://arxiv.org/abs/2202.03680, section 3.1.

    Args:
        x: Feature of shape ``(N, C, H, W)``.

    Returns:
        Matrices of shape ``(N, C, C)``.
    """
    flat = x.flatten(2)
    return F.normalize(flat @ flat.mT, dim=2)


def decoupled_kl(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, target_weight: float, other_weight: float
) -> Tensor:
    r"""Divergence of class probabilities in two parts: the true class against the rest, and the rest among themselves.

    .. math:: T^2 (\alpha\, KL(b^t \| b^s) + \beta\, KL(\hat p^t \| \hat p^s))

    Zhao et al., CVPR 2022, https://arxiv.org/abs/2203.08679, equation 7.

    Args:
        student: Logits of shape ``(M, C)``.
        teacher: The same.
        labels: The true classes, shape ``(M,)``.
        temperature: ``T``.
        target_weight: :math:`\alpha`.
        other_weight: :math:`\beta`.

    Returns:
        One value per distribution, shape ``(M,)``.
    """
    true = F.one_hot(labels, student.shape[1]).bool()
    binary, others = [], []
    for logits in (student / temperature, teacher.detach() / temperature):
        whole = logits.logsumexp(1)
        rest = logits.masked_fill(true, -torch.inf).logsumexp(1)
        binary.append(torch.stack((logits.gather(1, labels[:, None])[:, 0] - whole, rest - whole), 1))
        others.append((logits - rest[:, None]).masked_fill(true, -1e4))  # of which exp is 0, and the difference too
    target, other = (
        F.kl_div(learned, wanted, reduction='none', log_target=True).sum(1) for learned, wanted in (binary, others)
    )
    return temperature**2 * (target_weight * target + other_weight * other)
