"""How large the gradients of some losses are relative to another's."""

from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from ..compat.autocast import autocast_dtype

__all__ = ['gradient_ratios']

# Of the losses while they are measured; gradients in float16 vanish or overflow where GradScaler has not scaled yet.
SCALES = (2.0**14, 2.0**7, 1.0, 2.0**-7)


def gradient_ratios(task: Tensor, others: Sequence[Tensor], weights: Sequence[nn.Parameter]) -> list[float]:
    """Norms of losses' gradients as multiples of the task's, each over the weights that both reach.

    The graph stays as it is, and so do the weights' gradients. On several ranks the result is their geometric mean.

    Args:
        task: Loss of the task, a scalar.
        others: The other losses, scalars.
        weights: What is trained.

    Raises:
        ValueError: If a loss reaches no weight that the task reaches.
    """
    by_task = _gradients(task, weights)
    ratios = []
    for other in others:
        by_other = _gradients(other, weights)
        both = [(a, b) for a, b in zip(by_task, by_other, strict=True) if a is not None and b is not None]
        if not both:
            raise ValueError(
                "loss_weight='auto' cannot be measured: the distillation and the task's losses reach no weight "
                'together (FSDP hides them); set loss_weight to the number that a run on one GPU logs as '
                'distill_auto_weight_0'
            )
        norms = [torch.stack([one.norm() for one in some]).norm() for some in zip(*both, strict=True)]
        ratios.append((norms[1] / norms[0]).log())
    logs = torch.stack(ratios)
    all_reduce(logs, 'mean')
    return logs.exp().tolist()


def _gradients(loss: Tensor, weights: Sequence[nn.Parameter]) -> Sequence[Tensor | None]:
    """The gradients; of a scaled loss, then scaled back, where in float16 some could vanish or overflow on the way."""
    scales = SCALES if autocast_dtype(loss.device.type) == torch.float16 else (1.0,)
    for scale in scales:
        found = torch.autograd.grad(loss * scale, weights, retain_graph=True, allow_unused=True)
        if scale == scales[-1] or _are_finite(found):
            break
    return [None if one is None else one.float() / scale for one in found]


def _are_finite(gradients: Sequence[Tensor | None]) -> bool:
    """Whether they are finite on all ranks, so that all do equally many backward passes: SyncBN's wait for others."""
    known = [one.isfinite().all() for one in gradients if one is not None]
    finite = torch.stack(known).all().int() if known else torch.tensor(1)
    all_reduce(finite, 'min')
    return bool(finite)
