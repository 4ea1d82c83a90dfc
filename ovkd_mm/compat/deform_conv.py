"""Deformable convolutions (DCN, DCNv2) with the signatures and the results of mmcv's compiled operators.

Each point of the kernel reads the input at its place plus an offset; in DCNv2 a mask multiplies what is read. As mmcv
asks, results are written into the tensors for them. torchvision computes them, in float32 at least.
"""

from typing import NamedTuple

import torch
import torchvision  # noqa: F401  (brings torch.ops.torchvision)
from torch import Tensor
from torch.nn import functional


class _Geometry(NamedTuple):
    """In the order that torchvision's operators take."""

    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int
    groups: int
    deform_groups: int


_OF_V1 = ('dH', 'dW', 'padH', 'padW', 'dilationH', 'dilationW', 'group', 'deformable_group')
_OF_V2 = ('stride_h', 'stride_w', 'pad_h', 'pad_w', 'dilation_h', 'dilation_w', 'group', 'deformable_group')


def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **settings: int
) -> None:
    """Convolve at places that are learned (https://arxiv.org/abs/1703.06211, equation 2).

    Args:
        input: Shape (N, C, H, W).
        weight: Shape (D, C / group, kh, kw).
        offset: Of each point's row and column, in pixels, shape (N, deformable_group * kh * kw * 2, h, w).
        output: Result, shape (N, D, h, w).
        columns: Not used.
        ones: Not used.
        **settings: ``dH``, ``dW`` (stride), ``padH``, ``padW``, ``dilationH``, ``dilationW``, ``group``,
            ``deformable_group``; ``kH``, ``kW`` and ``im2col_step`` are not used.
    """
    output.copy_(_convolve(input, weight, offset, None, None, _geometry(settings, _OF_V1)))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,  # noqa: N803  (mmcv's name, as those below)
    gradInput: Tensor,  # noqa: N803
    gradOffset: Tensor,  # noqa: N803
    weight: Tensor,
    columns: Tensor,
    **settings: int,
) -> None:
    """Write the gradients of the input and of the offset; see the forward.

    ``columns`` gets the weight's, which comes with them, for ``deform_conv_backward_parameters``: mmcv passes it on.
    """
    geometry = _geometry(settings, _OF_V1)
    grads = _differentiate(gradOutput, input, weight, offset, None, None, geometry)
    gradInput.copy_(grads.input)
    gradOffset.copy_(grads.offset)
    columns.resize_(weight.shape).copy_(grads.weight)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,  # noqa: N803
    gradWeight: Tensor,  # noqa: N803
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **settings: int,
) -> None:
    """Add ``scale`` times the gradient of the weight to ``gradWeight``; see the forward."""
    if not columns.numel():  # neither the input nor the offset has a gradient, so the call above was not made
        weight = torch.zeros_like(gradWeight)  # its own gradient does not depend on it
        columns = _differentiate(gradOutput, input, weight, offset, None, None, _geometry(settings, _OF_V1)).weight
    gradWeight.add_(columns, alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    with_bias: bool,
    **settings: int,
) -> None:
    """Convolve at places and with strengths that are learned (https://arxiv.org/abs/1811.11168, equation 1).

    Args:
        input: Shape (N, C, H, W).
        weight: Shape (D, C / group, kh, kw).
        bias: Shape (D,); empty without one.
        ones: Not used.
        offset: Of each point's row and column, in pixels, shape (N, deformable_group * kh * kw * 2, h, w). The first
            numbers of a larger map are read as if they were such a one, as the compiled operator does: DyHead passes
            those, and its weights are trained so.
        mask: Shape (N, deformable_group * kh * kw, h, w), or larger likewise.
        output: Result, shape (N, D, h, w).
        columns: Not used.
        with_bias: Whether there is a bias.
        **settings: ``stride_h``, ``stride_w``, ``pad_h``, ``pad_w``, ``dilation_h``, ``dilation_w``, ``group``,
            ``deformable_group``; ``kernel_h`` and ``kernel_w`` are not used.

    Raises:
        ValueError: If the offset or the mask is smaller than the output.
    """
    offset, mask = (_in_order(values, output.shape[2:]) for values in (offset, mask))
    output.copy_(_convolve(input, weight, offset, mask, bias if with_bias else None, _geometry(settings, _OF_V2)))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    with_bias: bool,
    **settings: int,
) -> None:
    """Write all gradients; see the forward."""
    offset, mask = (_in_order(values, grad_output.shape[2:]) for values in (offset, mask))
    geometry = _geometry(settings, _OF_V2)
    grads = _differentiate(grad_output, input, weight, offset, mask, bias if with_bias else None, geometry)
    grad_input.copy_(grads.input)
    grad_weight.copy_(grads.weight)
    for target, values in ((grad_offset, grads.offset), (grad_mask, grads.mask)):
        flat = values.flatten(1)
        target.copy_(functional.pad(flat, (0, target[:1].numel() - flat.size(1))).view(target.shape))
    if with_bias:
        grad_bias.copy_(grads.bias)


class _Gradients(NamedTuple):
    """In the order that torchvision's operator returns."""

    input: Tensor
    weight: Tensor
    offset: Tensor
    mask: Tensor
    bias: Tensor


def _convolve(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None, geometry: _Geometry
) -> Tensor:
    operands = _operands(input, weight, offset, mask, bias)
    result: Tensor = torch.ops.torchvision.deform_conv2d(*operands, *geometry, mask is not None)
    return result


def _differentiate(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: _Geometry,
) -> _Gradients:
    operands = _operands(input, weight, offset, mask, bias)
    grad = grad.to(operands[0].dtype)
    with torch.autocast(input.device.type, enabled=False):  # torchvision sees to it in the forward alone
        results = torch.ops.torchvision._deform_conv2d_backward(grad, *operands, *geometry, mask is not None)
    grads = _Gradients(*results)
    # Exactly one pixel before the input, where what is read begins to rise from 0, mmcv takes the slope before and
    # torchvision the one after. Many lie there: offsets start at 0, so with a padding of 1 kernels on an edge do.
    begins = _places(operands[2], weight.shape[2:], geometry) == -1
    return grads._replace(offset=grads.offset.masked_fill(begins, 0))


def _operands(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, ...]:
    mask = input.new_zeros(len(input), 1) if mask is None else mask
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    dtype = torch.promote_types(input.dtype, torch.float32)
    return tuple(values.to(dtype) for values in (input, weight, offset, mask, bias))


def _places(offset: Tensor, kernel: torch.Size, geometry: _Geometry) -> Tensor:
    """The row or column that each number of the offset leads to, in the shape of the offset."""
    points = offset.unflatten(1, (-1, *kernel, 2))  # N, groups, kh, kw, (row, column), h, w

    def start(axis: int) -> Tensor:  # kernel, output
        point, pixel = (torch.arange(size, device=offset.device) for size in (kernel[axis], offset.size(2 + axis)))
        stride, padding, dilation = geometry[axis], geometry[2 + axis], geometry[4 + axis]
        return (point * dilation)[:, None] + pixel * stride - padding

    rows = points[:, :, :, :, 0] + start(0)[:, None, :, None]
    columns = points[:, :, :, :, 1] + start(1)[:, None, :]
    return torch.stack([rows, columns], 4).view(offset.shape)


def _in_order(values: Tensor, size: torch.Size) -> Tensor:
    """The first numbers of each image, in their order, as maps of another size."""
    if values.shape[2:] == size:
        return values
    flat, wanted = values.flatten(1), values.size(1) * size.numel()
    if flat.size(1) < wanted:
        raise ValueError(
            f'ModulatedDeformConv2d was given an offset or a mask of {" x ".join(map(str, values.shape[2:]))} for an '
            f'output of {" x ".join(map(str, size))}: it must not be smaller'
        )
    return flat[:, :wanted].unflatten(1, (-1, *size))


def _geometry(settings: dict[str, int], names: tuple[str, ...]) -> _Geometry:
    return _Geometry(*(settings[name] for name in names))


__all__ = [
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'deform_conv_forward',
    'modulated_deform_conv_backward',
    'modulated_deform_conv_forward',
]
