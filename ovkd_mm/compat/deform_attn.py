"""Multi-scale deformable attention (Zhu et al., ICLR 2021, section 4.1) on a GPU without mmcv's compiled operator.

mmcv has the formula in torch, too, and takes it on a CPU; so here it is again, with its own gradient.
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ['ms_deform_attn_backward', 'ms_deform_attn_forward']


def ms_deform_attn_forward(
    value: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor, im2col_step: int
) -> Tensor:
    """Sum what is sampled from the levels, by their weights.

    Args:
        value: All levels, ``(N, sum of H * W, heads, channels)``.
        shapes: ``(H, W)`` of each level.
        starts: Where each begins, which the shapes tell as well.
        locations: ``(x, y)`` in parts of a level, ``(N, queries, heads, levels, points, 2)``.
        weights: ``(N, queries, heads, levels, points)``.
        im2col_step: Of no use here.

    Returns:
        ``(N, queries, heads * channels)``.
    """
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    levels: Any = shapes.tolist()  # one wait for the GPU instead of several
    return multi_scale_deformable_attn_pytorch(value, levels, locations, weights)


def ms_deform_attn_backward(
    value: Tensor,
    shapes: Tensor,
    starts: Tensor,
    locations: Tensor,
    weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_locations: Tensor,
    grad_weights: Tensor,
    im2col_step: int,
) -> None:
    """Write the gradients into the last three tensors; the others are those of :func:`ms_deform_attn_forward`."""
    inputs = [tensor.detach().requires_grad_() for tensor in (value, locations, weights)]
    with torch.enable_grad():
        output = ms_deform_attn_forward(inputs[0], shapes, starts, inputs[1], inputs[2], im2col_step)
    gradients = torch.autograd.grad(output, inputs, grad_output)
    for target, gradient in zip((grad_value, grad_locations, grad_weights), gradients, strict=True):
        target.copy_(gradient)
