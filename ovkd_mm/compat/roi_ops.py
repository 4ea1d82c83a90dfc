"""RoIAlign and RoIPool with the signatures and the results of mmcv's compiled operators.

A RoI is a row ``image, x1, y1, x2, y2`` in pixels of the image. As mmcv asks, results are written into the tensors for
them. They are computed in float32 at least.
"""

from collections.abc import Iterator

import torch
import torchvision  # noqa: F401  (brings torch.ops.torchvision)
from torch import Tensor

_MAX = 0  # pool_mode; 1 averages
_NOWHERE = -2.0  # a coordinate at which nothing is sampled: the map's influence ends at -1
_LEAST = torch.finfo(torch.float32).min


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Pool samples of each bin (Mask R-CNN, https://arxiv.org/abs/1703.06870, section 3).

    Args:
        input: Feature map, shape (N, C, H, W).
        rois: Shape (K, 5).
        output: Result, shape (K, C, aligned_height, aligned_width). Without a sample in a bin it is 0.
        argmax_y: With ``pool_mode`` 0 the row of the largest sample, shape of ``output``; else not used.
        argmax_x: Its column.
        aligned_height: Number of bins from top to bottom.
        aligned_width: Number of bins from left to right.
        spatial_scale: Pixels of the feature map per pixel of the image.
        sampling_ratio: Samples of a bin along an axis; 0: one for each pixel of the feature map, rounded up.
        pool_mode: 0 takes the largest sample of a bin, 1 their mean.
        aligned: Whether pixel ``i`` lies at ``i + 0.5``; else it lies at ``i``, and no RoI is smaller than a pixel.

    Raises:
        ValueError: If on the CPU an aligned RoI has a negative width or height.
    """
    dtype = torch.promote_types(input.dtype, torch.float32)
    input, rois = input.to(dtype), rois.to(dtype)
    bins = (aligned_height, aligned_width)
    if aligned:
        _check_sizes(rois)
    if pool_mode != _MAX:
        output.copy_(torch.ops.torchvision.roi_align(input, rois, spatial_scale, *bins, sampling_ratio, aligned))
        return
    best = input.new_full(output.shape, _LEAST)
    best_y, best_x = input.new_full((2, *output.shape), _NOWHERE)
    values, plane = input.flatten(), _planes(rois, input.shape)
    for y, x, exists in _samples(rois, bins, spatial_scale, sampling_ratio, aligned):
        value = sum(weight * values[plane + index] for index, weight in _corners(y, x, *input.shape[2:]))
        better = exists & (value > best)
        best = torch.where(better, value, best)
        best_y, best_x = torch.where(better, y, best_y), torch.where(better, x, best_x)
    output.copy_(best.masked_fill(best_y == _NOWHERE, 0))
    argmax_y.copy_(best_y)
    argmax_x.copy_(best_x)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of the feature map into ``grad_input``; the other arguments are those of the forward."""
    dtype = torch.promote_types(grad_output.dtype, torch.float32)
    grad, rois, shape = grad_output.to(dtype), rois.to(dtype), grad_input.shape
    if pool_mode != _MAX:
        bins = (aligned_height, aligned_width)
        grad_input.copy_(
            torch.ops.torchvision._roi_align_backward(grad, rois, spatial_scale, *bins, *shape, sampling_ratio, aligned)
        )
        return
    result, plane = grad.new_zeros(shape.numel()), _planes(rois, shape)
    for index, weight in _corners(argmax_y.to(dtype), argmax_x.to(dtype), *shape[2:]):
        result.index_add_(0, (plane + index).flatten(), (weight * grad).flatten())
    grad_input.copy_(result.view(shape))


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Take the largest pixel of each bin (Fast R-CNN, https://arxiv.org/abs/1504.08083, section 2.1).

    In mmcv a RoI reaches to the end of its last pixel and its ends are not rounded, where torchvision rounds them.

    Args:
        input: Feature map, shape (N, C, H, W).
        rois: Shape (K, 5).
        output: Result, shape (K, C, pooled_height, pooled_width). Without a pixel in a bin it is 0.
        argmax: Index of the pixel in its map of H x W, int of the shape of ``output``; -1 where there is none.
        pooled_height: Number of bins from top to bottom.
        pooled_width: Number of bins from left to right.
        spatial_scale: Pixels of the feature map per pixel of the image.
    """
    dtype = torch.promote_types(input.dtype, torch.float32)
    input, rois = input.to(dtype), rois.to(dtype)
    height, width = input.shape[2:]
    start = rois[:, 1:3] * spatial_scale
    size = (rois[:, 3:] + 1) * spatial_scale - start
    has_area = (size > 0).all(1)[:, None, None, None]
    left, right = (edge[:, None, None, :] for edge in _edges(start[:, :1], size[:, :1], pooled_width, width))
    top, bottom = (edge[:, None, :, None] for edge in _edges(start[:, 1:], size[:, 1:], pooled_height, height))
    columns, rows = (right - left) * has_area, (bottom - top) * has_area  # of each bin
    best = input.new_full(output.shape, _LEAST)
    best_index = torch.full_like(argmax, -1)
    values, plane = input.flatten(), _planes(rois, input.shape)
    for row in range(_largest(rows)):
        for column in range(_largest(columns)):
            exists = (row < rows) & (column < columns)
            index = ((top + row) * width + left + column).masked_fill(~exists, 0)
            value = values[plane + index]
            better = exists & (value > best)
            best = torch.where(better, value, best)
            best_index = torch.where(better, index.to(argmax.dtype), best_index)
    output.copy_(best.masked_fill((rows == 0) | (columns == 0), 0))
    argmax.copy_(best_index)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the gradient of the feature map into ``grad_input``; the other arguments are those of the forward."""
    grad = grad_output.to(torch.promote_types(grad_output.dtype, torch.float32)) * (argmax >= 0)
    index = _planes(rois, grad_input.shape) + argmax.clamp(min=0)
    result = grad.new_zeros(grad_input.numel()).index_add_(0, index.flatten(), grad.flatten())
    grad_input.copy_(result.view(grad_input.shape))


def _check_sizes(rois: Tensor) -> None:
    """On the CPU alone, as the compiled operator: on CUDA a look would wait for the device."""
    if rois.device.type != 'cpu':
        return
    negative = (rois[:, 3:] < rois[:, 1:3]).any(1)
    if negative.any():
        box = [round(number, 2) for number in rois[negative][0, 1:].tolist()]
        raise ValueError(
            f'RoIAlign was given a box that ends before it starts: x1, y1, x2, y2 = {box}. Look for such a box in the '
            'annotations'
        )


def _samples(
    rois: Tensor, bins: tuple[int, int], spatial_scale: float, sampling_ratio: int, aligned: bool
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rows (K, 1, h, 1) and columns (K, 1, 1, w) of a sample of each bin, and which RoIs have it (K, 1, 1, 1)."""
    start, end = (rois[:, [2, 1, 4, 3]] * spatial_scale - (0.5 if aligned else 0)).chunk(2, 1)  # rows first
    size = end - start
    if not aligned:
        size = size.clamp(min=1)
    bin_size = size / size.new_tensor(bins)
    counts = torch.full_like(bin_size, sampling_ratio) if sampling_ratio > 0 else bin_size.ceil()
    number = [torch.arange(bins[axis], dtype=size.dtype, device=size.device) for axis in (0, 1)]

    def place(axis: int, sample: int) -> Tensor:
        first, step, count = (values[:, axis, None] for values in (start, bin_size, counts))
        return first + number[axis] * step + (sample + 0.5) * step / count.clamp(min=1)

    for row in range(_largest(counts[:, 0])):
        for column in range(_largest(counts[:, 1])):
            exists = (row < counts[:, 0]) & (column < counts[:, 1])
            yield place(0, row)[:, None, :, None], place(1, column)[:, None, None, :], exists[:, None, None, None]


def _corners(y: Tensor, x: Tensor, height: int, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Indices in a map of the four pixels around places, and their weights by bilinear interpolation."""
    outside = (y < -1) | (y > height) | (x < -1) | (x > width)
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.long(), x.long()
    down, right = y - top, x - left
    for row, of_row in ((top, 1 - down), ((top + 1).clamp(max=height - 1), down)):
        for column, of_column in ((left, 1 - right), ((left + 1).clamp(max=width - 1), right)):
            yield row * width + column, (of_row * of_column).masked_fill(outside, 0)


def _edges(start: Tensor, size: Tensor, bins: int, length: int) -> tuple[Tensor, Tensor]:
    """First pixel of each bin and the one after its last, shape (K, bins), within a map of this length."""
    edges = torch.arange(bins + 1, dtype=size.dtype, device=size.device) * (size / bins) + start
    return edges[:, :-1].floor().clamp(0, length).long(), edges[:, 1:].ceil().clamp(0, length).long()


def _planes(rois: Tensor, shape: torch.Size) -> Tensor:
    """Where in a flattened map of shape (N, C, H, W) each channel of each RoI's image starts, shape (K, C, 1, 1)."""
    channels = rois[:, :1].long() * shape[1] + torch.arange(shape[1], device=rois.device)
    return channels[:, :, None, None] * shape[2:].numel()


def _largest(counts: Tensor) -> int:
    return int(counts.max()) if len(counts) else 0


__all__ = ['roi_align_backward', 'roi_align_forward', 'roi_pool_backward', 'roi_pool_forward']
