import pytest
import torch
from mmcv.ops import multi_scale_deform_attn

from ovkd_mm.compat import deform_attn

SHAPES = [(3, 4), (2, 2)]
HEADS, CHANNELS, QUERIES, POINTS, BATCH = 2, 3, 5, 2, 2


def inputs(dtype=torch.float64):
    torch.manual_seed(0)
    keys = sum(height * width for height, width in SHAPES)
    value = torch.randn(BATCH, keys, HEADS, CHANNELS, dtype=dtype)
    # Some lie outside.
    locations = torch.rand(BATCH, QUERIES, HEADS, len(SHAPES), POINTS, 2, dtype=dtype) * 1.4 - 0.2
    weights = torch.rand(BATCH, QUERIES, HEADS, len(SHAPES), POINTS, dtype=dtype)
    return value, locations, weights


@pytest.fixture(autouse=True)
def ours(monkeypatch):
    """Let mmcv's autograd function call ours, whether there is a compiled one or not."""
    monkeypatch.setattr(multi_scale_deform_attn, 'ext_module', deform_attn)


def attend(value, locations, weights):
    """As mmcv calls it on a GPU."""
    shapes = torch.tensor(SHAPES)
    starts = torch.tensor([0, 12])
    return multi_scale_deform_attn.MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, weights, 64)


def bilinear(level, x, y):
    """One sample of a map of shape (H, W, channels), whose pixels are centered at halves; outside it is zero."""
    height, width, channels = level.shape
    x, y = x * width - 0.5, y * height - 0.5
    total = torch.zeros(channels, dtype=level.dtype)
    for column in (int(x // 1), int(x // 1) + 1):
        for row in (int(y // 1), int(y // 1) + 1):
            if 0 <= column < width and 0 <= row < height:
                total += (1 - abs(x - column)) * (1 - abs(y - row)) * level[row, column]
    return total


def test_it_is_the_papers_formula_written_out():
    value, locations, weights = inputs()
    found = attend(value, locations, weights).view(BATCH, QUERIES, HEADS, CHANNELS)
    for image in range(BATCH):
        for query in range(QUERIES):
            for head in range(HEADS):
                total, start = torch.zeros(CHANNELS, dtype=torch.float64), 0
                for index, (height, width) in enumerate(SHAPES):
                    level = value[image, start : start + height * width, head].view(height, width, CHANNELS)
                    start += height * width
                    for point in range(POINTS):
                        x, y = locations[image, query, head, index, point].tolist()
                        total += weights[image, query, head, index, point] * bilinear(level, x, y)
                torch.testing.assert_close(found[image, query, head], total)


def test_its_gradients_are_those_of_finite_differences():
    leaves = [tensor.requires_grad_() for tensor in inputs()]
    assert torch.autograd.gradcheck(attend, leaves)
