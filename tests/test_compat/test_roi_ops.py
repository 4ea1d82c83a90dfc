import importlib.machinery
import math
from importlib import import_module

import pytest
import torch

from ovkd_mm.compat import roi_ops

mmcv = pytest.importorskip('mmcv')
CUDA = pytest.param('cuda', marks=pytest.mark.cuda)
DEVICES = pytest.mark.parametrize('device', ['cpu', CUDA])
ROIS = torch.tensor(
    [
        [0, 2.3, 1.7, 17.9, 13.1],
        [1, -6.0, -5.0, 9.0, 30.0],  # beyond the map on three sides
        [1, 4.0, 4.0, 4.5, 4.25],  # within a pixel
        [0, 3.0, 6.0, 3.0, 12.0],  # a line
        [0, 5.0, 5.0, 5.0, 5.0],  # a point
        [1, 60.0, 60.0, 70.0, 80.0],  # outside
    ],
    dtype=torch.float64,
)
BINS, SCALE = (3, 2), 0.5


@pytest.fixture(autouse=True)
def _through_mmcv(monkeypatch):
    """Let mmcv's autograd functions call ours, whether there are compiled ones or not."""
    for name in ('roi_align', 'roi_pool'):
        monkeypatch.setattr(import_module(f'mmcv.ops.{name}'), 'ext_module', roi_ops)


def pool(mode, feature, rois, ratio=0, aligned=True):
    ops = import_module('mmcv.ops')
    if mode == 'pool':
        return ops.roi_pool(feature, rois, BINS, SCALE)
    return ops.roi_align(feature, rois, BINS, SCALE, ratio, mode, aligned)


def features(dtype=torch.float64, device='cpu'):
    return torch.randn(2, 3, 9, 11, dtype=torch.float64).to(device, dtype).requires_grad_()


def value_at(feature, y, x):
    """Bilinear interpolation of a map (C, H, W), which reaches one pixel beyond its edges."""
    height, width = feature.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return feature.new_zeros(len(feature))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    result = 0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            weight = (1 - abs(y - row)) * (1 - abs(x - column))
            if weight:
                result = result + weight * feature[:, row, column]
    return result


def naive_roi_align(feature, rois, bins, scale, ratio, mode, aligned):
    outputs = []
    for image, *box in rois.tolist():
        x1, y1, x2, y2 = (corner * scale - (0.5 if aligned else 0) for corner in box)
        height, width = (y2 - y1, x2 - x1) if aligned else (max(y2 - y1, 1), max(x2 - x1, 1))
        step_y, step_x = height / bins[0], width / bins[1]
        rows, columns = (ratio, ratio) if ratio else (math.ceil(step_y), math.ceil(step_x))
        for i in range(bins[0]):
            for j in range(bins[1]):
                samples = [
                    value_at(
                        feature[int(image)],
                        y1 + (i + (row + 0.5) / rows) * step_y,
                        x1 + (j + (column + 0.5) / columns) * step_x,
                    )
                    for row in range(rows)
                    for column in range(columns)
                ]
                samples = torch.stack(samples) if samples else feature.new_zeros(1, feature.size(1))
                outputs.append(samples.mean(0) if mode == 'avg' else samples.amax(0))
    return torch.stack(outputs).view(len(rois), *bins, -1).permute(0, 3, 1, 2)


def naive_roi_pool(feature, rois, bins, scale):
    outputs = []
    for image, x1, y1, x2, y2 in rois.tolist():
        x1, y1, x2, y2 = x1 * scale, y1 * scale, (x2 + 1) * scale, (y2 + 1) * scale
        for i in range(bins[0]):
            for j in range(bins[1]):
                top, bottom = math.floor(y1 + i * (y2 - y1) / bins[0]), math.ceil(y1 + (i + 1) * (y2 - y1) / bins[0])
                left, right = math.floor(x1 + j * (x2 - x1) / bins[1]), math.ceil(x1 + (j + 1) * (x2 - x1) / bins[1])
                bin_ = feature[int(image), :, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
                outputs.append(bin_.amax((1, 2)) if bin_.numel() else feature.new_zeros(feature.size(1)))
    return torch.stack(outputs).view(len(rois), *bins, -1).permute(0, 3, 1, 2)


def check(ours, naive, dtype=torch.float64, device='cpu', **tolerance):
    """The result and the gradient of the features, at random weights of the output."""
    expected_in, given = features(), features(dtype, device)
    with torch.no_grad():
        expected_in.copy_(given)
    expected, result = naive(expected_in, ROIS), ours(given, ROIS.to(given))
    assert result.dtype == given.dtype
    torch.testing.assert_close(result.double().cpu(), expected, **tolerance)
    weights = torch.randn_like(expected).to(result)
    (result * weights).sum().backward()
    (expected * weights.double().cpu()).sum().backward()
    assert expected_in.grad.abs().sum() > 1
    torch.testing.assert_close(given.grad.double().cpu(), expected_in.grad, **tolerance)


@DEVICES
@pytest.mark.parametrize('mode', ['avg', 'max'])
@pytest.mark.parametrize('ratio', [0, 1, 3])
@pytest.mark.parametrize('aligned', [True, False])
def test_roi_align_pools_the_samples_of_each_bin(aligned, ratio, mode, device):
    def ours(feature, rois):
        return pool(mode, feature, rois, ratio, aligned)

    def naive(feature, rois):
        return naive_roi_align(feature, rois, BINS, SCALE, ratio, mode, aligned)

    check(ours, naive, device=device)
    check(ours, naive, torch.float32, device, atol=1e-5, rtol=1e-5)


@DEVICES
def test_roi_pool_takes_the_largest_pixel_of_each_bin(device):
    def ours(feature, rois):
        return pool('pool', feature, rois)

    def naive(feature, rois):
        return naive_roi_pool(feature, rois, BINS, SCALE)

    check(ours, naive, device=device)
    check(ours, naive, torch.float32, device, atol=1e-5, rtol=1e-5)


@DEVICES
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('mode', ['avg', 'max', 'pool'])
def test_half_precision_is_computed_in_float32(mode, dtype, device):
    feature = features(dtype, device)
    rois = torch.tensor([[0, 2, 1, 17, 13], [1, 3, 2, 9, 30], [1, 3, 1, 9, 30]], dtype=dtype, device=device)
    wide = feature.detach().float().requires_grad_()
    result, expected = pool(mode, feature, rois, 2), pool(mode, wide, rois.float(), 2)
    torch.testing.assert_close(result, expected.to(dtype), atol=0, rtol=0)
    grad = torch.randn_like(result)
    result.backward(grad)
    expected.backward(grad.float())
    if mode == 'max':
        tolerance = dict(atol=0.1, rtol=0.1)  # mmcv stores the places in the dtype of the features
    else:
        tolerance = dict(atol=0, rtol=0) if device == 'cpu' else {}  # a GPU adds in any order
    torch.testing.assert_close(feature.grad, wide.grad.to(dtype), **tolerance)


@DEVICES
@pytest.mark.parametrize('mode', ['avg', 'max', 'pool'])
def test_autocast_changes_nothing(mode, device):
    feature = features(torch.float32, device)
    boxes = ROIS.to(feature)
    results = []
    for enabled in (False, True):
        with torch.autocast(device, dtype=torch.bfloat16, enabled=enabled):
            result = pool(mode, feature, boxes)
            results.append([result, *torch.autograd.grad(result.sum(), feature)])
    for plain, cast in zip(*results, strict=True):
        torch.testing.assert_close(cast, plain)


@DEVICES
@pytest.mark.parametrize('mode', ['avg', 'max', 'pool'])
def test_no_rois_give_an_empty_result_and_a_gradient_of_0(mode, device):
    feature, rois = features(torch.float32, device), torch.zeros(0, 5, device=device)
    result = pool(mode, feature, rois)
    assert result.shape == (0, 3, *BINS)
    result.sum().backward()
    assert feature.grad.shape == feature.shape
    assert not feature.grad.any()


@pytest.mark.parametrize('mode', ['avg', 'max', 'pool'])
def test_strides_do_not_matter(mode):
    feature = features()
    turned = feature.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    boxes = ROIS.t().contiguous().t()
    results = []
    for values, rois in ((feature, ROIS), (turned, boxes)):
        result = pool(mode, values, rois)
        result.transpose(2, 3).square().sum().backward()
        results.append(result)
    assert torch.equal(*results)
    torch.testing.assert_close(turned.grad, feature.grad)


@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_a_sample_exactly_one_pixel_beyond_the_map_reads_its_edge(mode):
    feature = torch.ones(1, 1, 9, 11)
    for beyond, expected in ((1, 1), (1.25, 0)):
        for y, x in ((-beyond, 5), (8 + beyond, 5), (5, -beyond), (5, 10 + beyond)):
            rois = torch.tensor([[0, x - 0.5, y - 0.5, x + 1.5, y + 1.5]])  # one sample, half a pixel before the center
            assert import_module('mmcv.ops').roi_align(feature, rois, 1, 1.0, 1, mode, True).item() == expected


@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_an_aligned_roi_that_ends_before_it_starts_is_named(mode):
    rois = torch.tensor([[0, 1.0, 1, 5, 5], [0, 8.126, 2, 6, 7]])
    with pytest.raises(ValueError, match=r'ends before it starts: x1, y1, x2, y2 = \[8\.13, 2\.0, 6\.0, 7\.0\]'):
        pool(mode, features(torch.float32), rois)
    assert pool(mode, features(torch.float32), rois, aligned=False).isfinite().all()


def test_roi_pool_ignores_a_roi_that_ends_before_it_starts():
    feature = features()
    result = pool('pool', feature, torch.tensor([[0, 8.0, 2, 6, 7]], dtype=torch.float64))
    assert not result.any()
    result.sum().backward()
    assert not feature.grad.any()


def test_roi_pool_gives_all_of_the_gradient_to_the_first_of_equal_pixels():
    feature = torch.zeros(1, 1, 9, 8, requires_grad=True)
    pool('pool', feature, torch.tensor([[0, 0.0, 0, 15, 17]])).sum().backward()
    assert feature.grad[0, 0].nonzero().tolist() == [[0, 0], [0, 4], [3, 0], [3, 4], [6, 0], [6, 4]]


@pytest.fixture
def mask_rcnn(tmp_path):
    """Mask R-CNN with deformable convolutions in the last stage, without weights from the net."""
    pytest.importorskip('mmdet')
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope

    path = tmp_path / 'config.py'
    path.write_text("_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'")
    config = Config.fromfile(path)
    init_default_scope(config.default_scope)
    dcn = dict(type='DCNv2', deform_groups=1, fallback_on_stride=False)
    config.model.backbone.update(init_cfg=None, dcn=dcn, stage_with_dcn=(False, False, False, True))
    config.model.test_cfg.rpn.max_per_img = 20
    config.model.test_cfg.rcnn.update(score_thr=0, max_per_img=5)
    return MODELS.build(config.model)


def test_a_two_stage_detector_with_masks_trains_and_predicts(mask_rcnn):
    from mmdet.testing import demo_mm_inputs

    data = demo_mm_inputs(2, [[3, 64, 64]] * 2, num_classes=80, with_mask=True)
    losses = mask_rcnn.train()(**mask_rcnn.data_preprocessor(data, True), mode='loss')
    assert {'loss_rpn_cls', 'loss_cls', 'loss_bbox', 'loss_mask'} <= set(losses)
    total, _ = mask_rcnn.parse_losses(losses)
    assert total.isfinite()
    total.backward()
    head, backbone = mask_rcnn.roi_head, mask_rcnn.backbone
    for module in (head.bbox_head.fc_reg, head.mask_head.conv_logits, backbone.layer4[0].conv2.conv_offset):
        assert module.weight.grad.isfinite().all()
        assert module.weight.grad.any()
    with torch.no_grad():
        predictions = mask_rcnn.eval()(**mask_rcnn.data_preprocessor(data, False), mode='predict')
    for prediction in predictions:
        assert len(prediction.pred_instances) == 5
        assert prediction.pred_instances.masks.shape == (5, *prediction.ori_shape)


def test_masks_are_cropped_by_their_boxes():
    """mmdet cuts the targets of a mask head out by RoIAlign."""
    masks = pytest.importorskip('mmdet.structures.mask')
    mask = torch.zeros(1, 8, 8, dtype=torch.uint8)
    mask[0, 2:6, 3:5] = 1
    crops = masks.BitmapMasks(mask.numpy(), 8, 8).crop_and_resize(
        torch.tensor([[1.0, 2, 7, 6], [0, 0, 8, 8]]), (4, 6), torch.tensor([0, 0])
    )
    assert crops.masks[0].tolist() == [[0, 0, 1, 1, 0, 0]] * 4
    assert crops.masks[1].tolist() == [[0] * 6, [0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0], [0] * 6]


# Cases and results of mmcv's own tests (Apache-2.0, https://github.com/open-mmlab/mmcv,
# tests/test_ops/test_roi_align.py and test_roi_pool.py): RoIs over all of the image, 2 x 2 bins, 2 x 2 samples in each.
TWO, OTHER = [[1.0, 2], [3, 4]], [[4.0, 3], [2, 1]]
FOUR = [[1.0, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16]]
CORNER = [[3.0625, 0.4375], [0.4375, 0.0625]]
OF_ALIGN = [
    ([TWO], [[[1.0, 1.25], [1.5, 1.75]]], [CORNER]),
    ([TWO, OTHER], [[[1.0, 1.25], [1.5, 1.75]], [[4.0, 3.75], [3.5, 3.25]]], [CORNER, CORNER]),
    (
        [FOUR],
        [[[1.9375, 4.75], [7.5625, 10.375]]],
        [
            [
                [0.47265625, 0.42968750, 0.42968750, 0.04296875],
                [0.42968750, 0.39062500, 0.39062500, 0.03906250],
                [0.42968750, 0.39062500, 0.39062500, 0.03906250],
                [0.04296875, 0.03906250, 0.03906250, 0.00390625],
            ]
        ],
    ),
]
ONES = [[1.0, 1], [1, 1]]
OF_POOL = [
    ([TWO], [TWO], [ONES]),
    ([TWO, OTHER], [TWO, OTHER], [ONES, ONES]),
    ([FOUR], [[[4.0, 8], [12, 16]]], [[[0.0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0], [0, 1, 0, 1]]]),
]


@DEVICES
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize(('mode', 'case'), [('avg', case) for case in OF_ALIGN] + [('pool', case) for case in OF_POOL])
def test_results_are_those_that_mmcv_publishes(mode, case, dtype, device):
    values, output, grad = (torch.tensor([numbers], dtype=dtype, device=device) for numbers in case)
    last = values.size(-1) - 1
    rois = torch.tensor([[0, 0, 0, last, last]], dtype=dtype, device=device)
    ops = import_module('mmcv.ops')
    layer = ops.RoIPool(2) if mode == 'pool' else ops.RoIAlign(2, sampling_ratio=2)
    result = layer(values.requires_grad_(), rois)
    torch.testing.assert_close(result, output)
    result.sum().backward()
    torch.testing.assert_close(values.grad, grad)


def compiled_ext():
    if importlib.machinery.PathFinder.find_spec('mmcv._ext', mmcv.__path__) is None:
        pytest.skip('mmcv-lite has no compiled operators to compare with')
    return import_module('mmcv._ext')


@DEVICES
@pytest.mark.parametrize('mode', ['avg', 'max', 'pool'])
def test_results_equal_those_of_the_compiled_operators(mode, device, monkeypatch):
    ext, results = compiled_ext(), []
    if mode == 'pool' and device == 'cpu':
        pytest.skip('the compiled RoIPool works on CUDA alone')
    boxes = ROIS[[0, 1, 2, 5]].float().to(device)  # all with samples: what is largest of none differs between devices
    feature = features(torch.float32, device)
    for module in (roi_ops, ext):
        for name in ('roi_align', 'roi_pool'):
            monkeypatch.setattr(import_module(f'mmcv.ops.{name}'), 'ext_module', module)
        result = pool(mode, feature, boxes)
        results.append([result, *torch.autograd.grad(result.square().sum(), feature)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)
