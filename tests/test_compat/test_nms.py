import importlib.machinery

import pytest
import torch

from ovkd_mm.compat.nms import nms, softnms

THRESHOLDS = (0.0, 0.3, 0.5, 1.0)
CUDA = pytest.param('cuda', marks=pytest.mark.cuda)


def boxes_and_scores(kind: str, seed: int = 0, size: int = 60):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(size, 2, generator=generator) * 60
    boxes = torch.cat([corner, corner + torch.rand(size, 2, generator=generator) * 40], 1)
    scores = torch.rand(size, generator=generator)
    if kind == 'whole pixels, equal scores':
        boxes, scores = boxes.round(), (scores * 5).round() / 5
    elif kind == 'the same boxes again':
        boxes = boxes[torch.randint(0, size // 4, (size,), generator=generator)]
    elif kind == 'no area':
        boxes[::3, 2:] = boxes[::3, :2]
    return boxes, scores


KINDS = ('any', 'whole pixels, equal scores', 'the same boxes again', 'no area')


def iou(a, b, offset):
    """In float32, so that it is the same number as the operators'."""
    width = (min(a[2], b[2]) - max(a[0], b[0]) + offset).clamp(min=0)
    height = (min(a[3], b[3]) - max(a[1], b[1]) + offset).clamp(min=0)
    areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b)]
    return width * height / (areas[0] + areas[1] - width * height)


def naive_nms(boxes, order, threshold, offset):
    kept = []
    for i in order:
        if not any(iou(boxes[i], boxes[j], offset) > torch.tensor(threshold) for j in kept):
            kept.append(i)
    return kept


def naive_soft_nms(boxes, scores, threshold, sigma, min_score, method, offset):
    """Sets of (index, score); the order among equal scores is not part of the method."""
    left = {i: score for i, score in enumerate(scores.tolist())}
    result = []
    while left:
        best = max(left, key=left.get)
        result.append((best, left.pop(best)))
        for i in list(left):
            overlap = iou(boxes[best], boxes[i], offset).item()
            if method == 2:
                left[i] *= torch.tensor(-(overlap**2) / sigma).exp().item()
            elif overlap >= threshold:
                left[i] *= 1 - overlap if method == 1 else 0
            if left[i] < min_score:
                del left[i]
    return result


@pytest.mark.parametrize('device', ['cpu', CUDA])
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('kind', KINDS)
def test_nms_keeps_the_same_boxes_as_a_naive_greedy_loop(kind, offset, device):
    boxes, scores = boxes_and_scores(kind)
    order = scores.to(device).sort(descending=True).indices.tolist()  # torch's choice among equal scores
    lengths = set()
    for threshold in THRESHOLDS:
        expected = naive_nms(boxes, order, threshold, offset)
        kept = nms(boxes.to(device), scores.to(device), iou_threshold=threshold, offset=offset)
        assert kept.dtype == torch.int64
        assert kept.device.type == device
        assert kept.tolist() == expected
        lengths.add(len(expected))
    assert len(lengths) > 1  # the thresholds make a difference


def test_the_offset_counts_the_last_pixel():
    boxes = torch.tensor([[0.0, 0, 3, 0], [1, 0, 4, 0]])  # lines: no area without the offset, 3 of 5 pixels with it
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, iou_threshold=0.5, offset=0).tolist() == [0, 1]
    assert nms(boxes, scores, iou_threshold=0.5, offset=1).tolist() == [0]
    assert nms(boxes, scores, iou_threshold=0.7, offset=1).tolist() == [0, 1]


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def default_dtype(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures('default_dtype')
def test_an_iou_of_just_the_threshold_is_kept_though_float32_rounds_it_up():
    boxes = torch.tensor([[0.0, 0, 10, 1], [0, 0, 3, 1]], dtype=torch.float32)  # IoU 3 / 10, which it rounds up
    assert nms(boxes, torch.tensor([0.9, 0.8]), iou_threshold=0.3, offset=0).tolist() == [0, 1]
    assert nms(boxes, torch.tensor([0.9, 0.8]), iou_threshold=0.2999, offset=0).tolist() == [0]


HALF = torch.tensor([[0.0, 0, 2, 1], [0, 0, 1, 1]])  # an IoU of 1/2, which a float holds exactly


@pytest.mark.parametrize('offset', [0, 1])
def test_an_iou_of_exactly_the_threshold_is_kept_by_nms_and_lowered_by_soft_nms(offset):
    """The compiled operators compare ``ovr > iou_threshold`` and ``ovr >= iou_threshold``."""
    boxes, scores = HALF - torch.tensor([0, 0, offset, offset]), torch.tensor([0.75, 0.5])
    above = 0.5 + 2**-20
    for threshold, kept, naive, linear in ((0.5, [0, 1], 0, 0.25), (above, [0, 1], 0.5, 0.5), (0.499, [0], 0, 0.25)):
        assert nms(boxes, scores, iou_threshold=threshold, offset=offset).tolist() == kept
        for method, lowered in ((0, naive), (1, linear)):
            dets = torch.empty(2, 5)
            assert softnms(boxes, scores, dets, threshold, 0.5, 0.0, method, offset).tolist() == [0, 1]
            assert dets[:, 4].tolist() == [0.75, lowered]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_nms_takes_every_float_type(dtype):
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], dtype=dtype)
    scores = torch.tensor([0.5, 0.75, 0.25], dtype=dtype)
    assert nms(boxes, scores, iou_threshold=0.5, offset=0).tolist() == [1, 2]


@pytest.mark.parametrize('offset', [0, 1])
def test_no_boxes_give_no_indices(offset):
    boxes, scores = torch.zeros(0, 4), torch.zeros(0)
    for kept in (
        nms(boxes, scores, iou_threshold=0.5, offset=offset),
        softnms(boxes, scores, torch.empty(0, 5), 0.5, 0.5, 1e-3, 1, offset),
    ):
        assert kept.shape == (0,)
        assert kept.dtype == torch.int64


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', [0, 1, 2])
def test_soft_nms_lowers_scores_as_a_naive_loop_does(method, offset):
    boxes, scores = boxes_and_scores('any')
    given = boxes.clone(), scores.clone()
    for threshold, min_score in ((0.3, 1e-3), (0.5, 0.2)):
        dets = torch.full((len(boxes), 5), torch.nan)
        inds = softnms(boxes, scores, dets, threshold, 0.5, min_score, method, offset)
        expected = naive_soft_nms(boxes, scores, threshold, 0.5, min_score, method, offset)
        assert inds.tolist() == [index for index, _ in expected]
        torch.testing.assert_close(dets[: len(inds), 4], torch.tensor([score for _, score in expected]))
        assert torch.equal(dets[: len(inds), :4], boxes[inds])
        assert len(inds) < len(boxes)
    assert torch.equal(boxes, given[0])
    assert torch.equal(scores, given[1])


def test_soft_nms_fills_the_places_of_dropped_boxes_from_the_end():
    squares = torch.tensor([[0.0, 0], [0, 0], [0, 0], [20, 20], [40, 40]])
    boxes = torch.cat([squares, squares + 10], 1)
    scores = torch.tensor([0.9, 0.8, 0.8, 0.5, 0.5])
    inds = softnms(boxes, scores, torch.empty(5, 5), 0.5, 0.5, 1e-3, 0, 0)
    assert inds.tolist() == [0, 4, 3]  # box 4 took the place of box 1, so it comes before its equal


def test_soft_nms_keeps_the_best_box_whatever_its_score():
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    assert softnms(boxes, torch.tensor([0.1, 0.2]), torch.empty(2, 5), 0.5, 0.5, 0.3, 0, 0).tolist() == [1]


def test_soft_nms_keeps_a_box_whose_lowered_score_is_exactly_the_least():
    for min_score, kept in ((0.25, [0, 1]), (0.25 + 2**-20, [0])):
        assert softnms(HALF, torch.tensor([0.75, 0.5]), torch.empty(2, 5), 0.5, 0.5, min_score, 1, 0).tolist() == kept


def test_two_boxes_without_area_do_not_keep_soft_nms_from_the_others():
    boxes = torch.tensor([[5.0, 5, 5, 5], [5, 5, 5, 5], [20, 20, 30, 30]])
    dets = torch.empty(3, 5)
    inds = softnms(boxes, torch.tensor([0.9, 0.8, 0.7]), dets, 0.5, 0.5, 1e-3, 2, 0)
    # 0 / 0 makes the second score NaN. It already stands where the next best is looked for, so it is taken.
    assert inds.tolist() == [0, 1, 2]
    assert dets[1, 4].isnan()
    assert dets[2, 4] == 0.7


def test_boxes_need_not_lie_on_the_default_device():
    boxes, scores = boxes_and_scores('any')
    arguments = (boxes, scores, torch.empty(len(boxes), 5), 0.3, 0.5, 1e-3, 1, 0)

    def results() -> list[list[int]]:
        return [nms(boxes, scores, 0.3, 0).tolist(), nms(boxes, scores, 0.3, 1).tolist(), softnms(*arguments).tolist()]

    expected = results()
    with torch.device('meta'):
        assert results() == expected


INF, NAN, MAX = torch.inf, torch.nan, torch.finfo(torch.float32).max


@pytest.mark.parametrize(
    ('scores', 'order'),
    [
        ((0.5, NAN, 0.7), [2, 1, 0]),
        ((-0.5, NAN, -0.7), [0, 1, 2]),
        ((-INF, NAN, -MAX), [2, 1, 0]),
        ((MAX, INF, 0.5), [1, 0, 2]),
        ((-INF, -MAX, 0.5), [2, 1, 0]),
        ((NAN, INF, 0.5), [0, 1, 2]),
    ],
    ids=str,
)
def test_soft_nms_takes_a_nan_only_where_it_stands_first_and_infinities_as_what_they_are(scores, order):
    """The compiled operator's loop: ``max_pos = pos`` where ``scores[max_pos] < scores[pos]``."""
    corners = torch.tensor([[0.0, 0], [20, 20], [40, 40]])
    boxes, dets = torch.cat([corners, corners + 10], 1), torch.empty(3, 5)
    assert softnms(boxes, torch.tensor(scores), dets, 0.5, 0.5, -INF, 0, 0).tolist() == order
    torch.testing.assert_close(dets[:, 4], torch.tensor(scores)[order], rtol=0, atol=0, equal_nan=True)


def compiled_ext():
    """mmcv's own ``_ext``, if this mmcv has one."""
    mmcv = pytest.importorskip('mmcv')
    if importlib.machinery.PathFinder.find_spec('mmcv._ext', mmcv.__path__) is None:
        pytest.skip('mmcv-lite has no compiled operators to compare with')
    return importlib.import_module('mmcv._ext')


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('kind', KINDS)
def test_results_equal_those_of_the_compiled_operators(kind, offset):
    ext = compiled_ext()
    for seed in range(5):
        boxes, scores = boxes_and_scores(kind, seed, 300)
        for threshold in THRESHOLDS:
            expected = ext.nms(boxes, scores, iou_threshold=threshold, offset=offset)
            assert torch.equal(nms(boxes, scores, iou_threshold=threshold, offset=offset), expected)
            for method in (0, 1, 2):
                settings = dict(iou_threshold=threshold, sigma=0.5, min_score=0.05, method=method, offset=offset)
                theirs, ours = torch.zeros(2, len(boxes), 5)
                expected = ext.softnms(boxes, scores, theirs, **settings)
                assert torch.equal(softnms(boxes, scores, ours, **settings), expected)
                torch.testing.assert_close(ours, theirs, equal_nan=True)
