"""Focal losses with the signatures of mmcv's compiled operators, which work on CUDA alone.

``FL(p) = -alpha (1 - p)^gamma log p``, where ``p`` is the probability of what is true
(https://arxiv.org/abs/1708.02002, equation 5). As mmcv asks, results are written into the tensors for them; its classes
reduce them. They are computed in float32 at least.
"""

import torch
from torch import Tensor
from torch.nn import functional

_TINY = torch.finfo(torch.float32).tiny


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Ask of each class whether it is the label.

    The logarithm is exact. The compiled operator takes the log of a rounded probability: where that underflows to 0, it
    returns 87 even if the exact value is 20.

    Args:
        input: Logits, shape (N, C).
        target: Labels, int64 of shape (N,). ``C`` and negative ones are background, which is no class.
        weight: Factors of the rows by their labels, shape (C,), or empty. Rows of background have 1.
        output: Result, shape (N, C).
        gamma: Focusing exponent: the larger, the less well-classified examples count.
        alpha: Weight of the label; the other classes have ``1 - alpha``.

    Raises:
        ValueError: If on a CPU a label exceeds ``C``; on a GPU it is background.
    """
    logit, _, scale = _true_logits(input, target, weight, alpha)
    output.copy_(-scale * (-logit).sigmoid() ** gamma * functional.logsigmoid(logit))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the derivatives of the losses by their logits into ``grad_input``; see the forward."""
    logit, sign, scale = _true_logits(input, target, weight, alpha)
    error = (-logit).sigmoid()
    slope = error**gamma * (gamma * logit.sigmoid() * functional.logsigmoid(logit) - error)
    grad_input.copy_(sign * scale * slope)


def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Ask which class is the label.

    Args:
        input: Probabilities, shape (N, C).
        target: Labels, int64 of shape (N,); a row with a negative one has no loss.
        weight: Factors of the rows by their labels, shape (C,), or empty.
        output: Result, shape (N,).
        gamma: Focusing exponent: the larger, the less well-classified examples count.
        alpha: Factor.

    Raises:
        ValueError: If on a CPU a label exceeds ``C - 1``; on a GPU an assertion of torch fails.
    """
    p, scale = _true_probabilities(input, target, weight, alpha)
    output.copy_(-scale * (1 - p) ** gamma * p.clamp(min=_TINY).log())


def softmax_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, buff: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the derivatives of the losses by the logits into ``grad_input``; see the forward.

    ``buff``, of shape (N,), gets ``p`` times the derivative by ``p``.
    """
    p, scale = _true_probabilities(input, target, weight, alpha)
    error = (1 - p).clamp(min=_TINY)  # else 0 to a negative power, where gamma is below 1
    slope = scale * (gamma * error ** (gamma - 1) * p * p.clamp(min=_TINY).log() - error**gamma)
    buff.copy_(slope)
    is_label = target[:, None] == torch.arange(input.size(1), device=input.device)
    grad_input.copy_(slope[:, None] * (is_label.to(p.dtype) - input))


def _true_logits(input: Tensor, target: Tensor, weight: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of the right answers (yes for the label, no for others), their signs, and factors of the losses."""
    _check_labels(target, input.size(1))
    logit = input.to(torch.promote_types(input.dtype, torch.float32))
    yes = target[:, None] == torch.arange(input.size(1), device=input.device)
    sign = torch.where(yes, logit.new_ones(()), -1)
    scale = torch.where(yes, logit.new_full((), alpha), 1 - alpha)
    return sign * logit, sign, scale * _weights(weight, target, logit.dtype)[:, None]


def _true_probabilities(input: Tensor, target: Tensor, weight: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Probabilities of the labels, and the factors of the losses, both of shape (N,)."""
    _check_labels(target, input.size(1) - 1)
    probability = input.to(torch.promote_types(input.dtype, torch.float32))
    probability = probability.gather(1, target.clamp(min=0)[:, None])[:, 0]
    return probability, alpha * _weights(weight, target, probability.dtype) * (target >= 0)


def _weights(weight: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:
    if not len(weight):
        return torch.ones(target.shape, dtype=dtype, device=target.device)
    with_background = functional.pad(weight.to(dtype), (0, 1), value=1)
    return with_background[target.masked_fill(target < 0, len(weight))]


def _check_labels(target: Tensor, largest: int) -> None:
    if target.device.type != 'cpu' or not len(target):  # to look would be to wait for a GPU
        return
    worst = int(target.max())
    if worst > largest:
        raise ValueError(
            f'a focal loss was given the label {worst}, but the largest is {largest} here: `num_classes` of the head '
            'is not the number of classes of the data set'
        )


__all__ = [
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softmax_focal_loss_backward',
    'softmax_focal_loss_forward',
]
