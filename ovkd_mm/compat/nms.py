"""Non-maximum suppression with the signatures and the results of mmcv's compiled operators."""

import torch
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Suppress boxes that overlap a better one by more than a threshold.

    On the CPU the result equals the compiled operator's bit for bit. On CUDA the compiled operator compares
    ``intersection > threshold * union`` where torchvision divides, so the two may part where an IoU lies within
    rounding of the threshold, or for boxes with ``x2 < x1``.

    Args:
        boxes: Corners ``x1, y1, x2, y2`` in pixels, shape (N, 4).
        scores: Scores, shape (N,).
        iou_threshold: Largest IoU that two kept boxes may have.
        offset: 0, or 1 where a box from pixel 3 to pixel 5 is 3 pixels wide.

    Returns:
        Indices of the kept boxes, best first, int64 of shape (M,).
    """
    boxes = boxes.to(torch.promote_types(boxes.dtype, torch.float32))  # torchvision refuses bfloat16
    order = scores.sort(0, descending=True).indices
    boxes = boxes[order]
    if offset:
        return order[_greedy_nms(boxes, iou_threshold, offset)]

    from torchvision.ops import nms as torchvision_nms

    # Ranks in place of scores: equal scores keep the order of the sort above, which is the compiled operator's.
    ranks = torch.arange(len(boxes), 0, -1, dtype=boxes.dtype, device=boxes.device)
    # torchvision compares in float64, the compiled operator in float32.
    iou_threshold = torch.tensor(iou_threshold, dtype=torch.float32, device='cpu').item()
    return order[torchvision_nms(boxes, ranks, iou_threshold)]


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Lower the scores of boxes that overlap a better one (Soft-NMS, https://arxiv.org/abs/1704.04503).

    Equals the compiled operator, which works on the CPU alone; the scores of the gaussian method to rounding.

    Args:
        boxes: Corners ``x1, y1, x2, y2`` in pixels, shape (N, 4).
        scores: Scores, shape (N,).
        dets: Output, shape (N, 5): its first M rows become the boxes and new scores of the result.
        iou_threshold: IoU from which on the naive and the linear method lower a score.
        sigma: Width of the gaussian method.
        min_score: A box whose lowered score falls below this is dropped.
        method: 0 naive (score becomes 0), 1 linear (times 1 - IoU), 2 gaussian (times exp(-IoU^2 / sigma)).
        offset: 0, or 1 where a box from pixel 3 to pixel 5 is 3 pixels wide.

    Returns:
        Indices of the M boxes in the order of ``dets``, int64.
    """
    boxes, scores = boxes.clone(), scores.clone()
    inds = torch.arange(len(boxes), device=boxes.device)
    count = 0
    while count < len(inds):
        best = count + _argmax(scores[count:])
        for values in (boxes, scores, inds):
            values[[count, best]] = values[[best, count]]
        dets[count, :4], dets[count, 4] = boxes[count], scores[count]
        count += 1
        iou = _iou(boxes[count - 1], boxes[count:], offset)
        if method == 2:
            weight = torch.exp(-(iou * iou) / sigma)
        else:
            weight = torch.where(iou >= iou_threshold, 1 - iou if method == 1 else 0.0, 1.0)
        scores[count:] *= weight
        dropped = scores < min_score
        dropped[:count] = False
        kept = _fill_gaps_from_the_end(dropped)
        boxes, scores, inds = boxes[kept], scores[kept], inds[kept]
    return inds


def _argmax(scores: Tensor) -> int:
    """The first of the largest; nothing is larger than a NaN, which two boxes without area give the gaussian method."""
    return (
        0 if scores[0].isnan() else int(scores.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf).argmax())
    )


def _fill_gaps_from_the_end(dropped: Tensor) -> Tensor:
    """Indices of what stays, each gap filled by the then last that stays: the compiled operator's order."""
    stays = ~dropped
    count = int(stays.sum())
    kept = torch.arange(count, device=dropped.device)
    kept[dropped[:count]] = count + stays[count:].nonzero().flatten().flip(0)
    return kept


def _greedy_nms(boxes: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the kept among boxes that are sorted from best to worst; torchvision knows no offset."""
    kept = []
    left = torch.arange(len(boxes), device=boxes.device)
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[~(_iou(boxes[best], boxes[left], offset) > iou_threshold)]
    return torch.stack(kept) if kept else left


def _iou(box: Tensor, boxes: Tensor, offset: int) -> Tensor:
    """IoU of one box, shape (4,), with others, shape (N, 4); the operations and their order are the compiled ones'."""
    left_top = torch.maximum(box[:2], boxes[:, :2])
    right_bottom = torch.minimum(box[2:], boxes[:, 2:])
    intersection = (right_bottom - left_top + offset).clamp(min=0).prod(1)
    return intersection / (_area(box, offset) + _area(boxes, offset) - intersection)


def _area(boxes: Tensor, offset: int) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0] + offset) * (boxes[..., 3] - boxes[..., 1] + offset)


__all__ = ['nms', 'softnms']
