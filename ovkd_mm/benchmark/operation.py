"""OFD's operation beside the plain formula: batch norm, margin ReLU, partial L2 and their gradient."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..functional import margin_relu, partial_l2, skipped_by_partial_l2
from ..fused import can_fuse, normalized_partial_l2, partial_l2_and_skipped

__all__ = ['operations']


def operations(shape: tuple[int, ...], device: torch.device, channels_last: bool) -> dict[str, Callable[[], object]]:
    """What to time for a feature of a shape.

    Args:
        shape: ``(N, C, H, W)``.
        device: Where to run.
        channels_last: Whether channels lie side by side in memory.

    Returns:
        ``copy`` of such a feature; ``loss, plain``: margin ReLU, distance, skipped share and gradient by the formulas;
        ``norm and loss, plain``: the same with a batch norm; and, where there is one, each ``in one operation``.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    torch.manual_seed(0)
    student, teacher = (torch.randn(shape, device=device).to(memory_format=layout) for _ in range(2))
    leaf = student.requires_grad_()
    margin = torch.full(shape[1:2], -0.8, device=device)
    norm = nn.BatchNorm2d(shape[1]).to(device)

    def formula(feature: Tensor) -> Tensor:
        target = margin_relu(teacher, margin)
        skipped_by_partial_l2(feature.detach(), target).count_nonzero()
        return partial_l2(feature, target)

    def with_gradient(loss: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(loss(), leaf)

    things = {
        'copy': lambda: leaf.detach().clone(memory_format=torch.preserve_format),
        'loss, plain': with_gradient(lambda: formula(leaf)),
        'norm and loss, plain': with_gradient(lambda: formula(norm(leaf))),
    }
    if can_fuse(leaf):
        things['loss, in one operation'] = with_gradient(lambda: partial_l2_and_skipped(leaf, teacher, margin)[0])
        things['norm and loss, in one operation'] = with_gradient(
            lambda: normalized_partial_l2(leaf, norm, teacher, margin)[0]
        )
    return things
