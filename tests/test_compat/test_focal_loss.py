import importlib.machinery
import math
from importlib import import_module

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ovkd_mm.compat import focal_loss

mmcv = pytest.importorskip('mmcv')
CUDA = pytest.param('cuda', marks=pytest.mark.cuda)
DEVICES = pytest.mark.parametrize('device', ['cpu', CUDA])
KINDS = pytest.mark.parametrize('kind', ['sigmoid', 'softmax'])
BACKGROUND = 4  # of four classes


@pytest.fixture(autouse=True)
def _through_mmcv(monkeypatch):
    """Let mmcv's autograd functions call ours, whether there are compiled ones or not."""
    monkeypatch.setattr(import_module('mmcv.ops.focal_loss'), 'ext_module', focal_loss)


def loss_of(kind, *args):
    ops = import_module('mmcv.ops')
    return (ops.sigmoid_focal_loss if kind == 'sigmoid' else ops.softmax_focal_loss)(*args)


def logits_and_labels(kind, dtype=torch.float64, device='cpu'):
    labels = torch.tensor([0, 3, 1, -1, 2, 2, BACKGROUND if kind == 'sigmoid' else -1], device=device)
    return (3 * torch.randn(len(labels), 4, dtype=torch.float64)).to(device, dtype).requires_grad_(), labels


def naive_sigmoid(logits, labels, gamma, alpha, weight):
    rows = []
    for row, label in zip(logits, labels.tolist(), strict=True):
        factor = 1 if weight is None or label in (-1, BACKGROUND) else weight[label]
        p = 1 / (1 + torch.exp(-row))
        rows.append(
            [
                factor * -alpha * (1 - p[c]) ** gamma * torch.log(p[c])
                if c == label
                else factor * -(1 - alpha) * p[c] ** gamma * torch.log(1 - p[c])
                for c in range(4)
            ]
        )
    return torch.stack([torch.stack(row) for row in rows])


def naive_softmax(logits, labels, gamma, alpha, weight):
    rows = []
    for row, label in zip(logits, labels.tolist(), strict=True):
        p = torch.exp(row[label]) / torch.exp(row).sum()
        factor = 0 if label < 0 else 1 if weight is None else weight[label]
        rows.append(factor * -alpha * (1 - p) ** gamma * torch.log(p))
    return torch.stack(rows)


@DEVICES
@KINDS
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
@pytest.mark.parametrize('weighted', [False, True])
def test_losses_and_gradients_are_those_of_the_formula(weighted, gamma, kind, device):
    naive = naive_sigmoid if kind == 'sigmoid' else naive_softmax
    for dtype, tolerance in (
        (torch.float64, dict(atol=1e-12, rtol=1e-12)),
        (torch.float32, dict(atol=1e-5, rtol=1e-5)),
    ):
        logits, labels = logits_and_labels(kind, dtype, device)
        weight = torch.tensor([0.5, 2.0, 3.0, 0.25], dtype=dtype, device=device) if weighted else None
        wide = logits.detach().double().cpu().requires_grad_()
        expected = naive(wide, labels.cpu(), gamma, 0.3, None if weight is None else weight.cpu())
        losses = loss_of(kind, logits, labels, gamma, 0.3, weight, 'none')
        assert losses.dtype == dtype
        torch.testing.assert_close(losses.double().cpu(), expected, **tolerance)
        for reduction, total in (('sum', expected.sum()), ('mean', expected.sum() / len(labels))):
            loss = loss_of(kind, logits, labels, gamma, 0.3, weight, reduction)
            torch.testing.assert_close(loss.double().cpu(), total, **tolerance)
            (grad,) = torch.autograd.grad(loss, logits)
            (expected_grad,) = torch.autograd.grad(total, wide, retain_graph=True)
            torch.testing.assert_close(grad.double().cpu(), expected_grad, **tolerance)


@DEVICES
@KINDS
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype, kind, device):
    logits, labels = logits_and_labels(kind, dtype, device)
    wide = logits.detach().float().requires_grad_()
    loss, expected = (loss_of(kind, values, labels, 2.0, 0.25, None, 'none') for values in (logits, wide))
    # mmcv itself takes the softmax in the dtype of the logits.
    tolerance = dict(atol=0, rtol=0) if kind == 'sigmoid' else dict(atol=0.02, rtol=0.02)
    torch.testing.assert_close(loss, expected.to(dtype), **tolerance)
    for values in (logits, wide):  # mmcv's softmax loss has a gradient only if it is reduced
        loss_of(kind, values, labels, 2.0, 0.25, None, 'sum').backward()
    torch.testing.assert_close(logits.grad, wide.grad.to(dtype), **tolerance)


@KINDS
def test_a_gpu_is_not_waited_for(kind):
    with FakeTensorMode():  # refuses to tell what a tensor holds
        logits, labels = torch.randn(7, 4, device='cuda'), torch.zeros(7, dtype=torch.long, device='cuda')
        assert loss_of(kind, logits, labels, 2.0, 0.25, None, 'sum').shape == ()


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_very_sure_answers_have_finite_losses_and_gradients(gamma):
    sure = torch.tensor([[50.0, -50], [200, -200]], requires_grad=True)
    right, wrong = torch.tensor([0, 0]), torch.tensor([1, 1])
    for labels in (right, wrong):
        for kind in ('sigmoid', 'softmax'):
            loss = loss_of(kind, sure, labels, gamma, 0.25, None, 'sum')
            assert loss.isfinite()
            assert torch.autograd.grad(loss, sure)[0].isfinite().all()
    mistakes = loss_of('sigmoid', sure, wrong, gamma, 0.25, None, 'none')
    torch.testing.assert_close(mistakes, torch.tensor([[0.75 * 50, 0.25 * 50], [0.75 * 200, 0.25 * 200]]))


def test_softmax_losses_of_a_right_answer_without_doubt_have_no_gradient():
    logits, labels = torch.tensor([[200.0, -200]], requires_grad=True), torch.tensor([0])
    for gamma in (0.0, 0.5, 2.0):
        loss = loss_of('softmax', logits, labels, gamma, 0.25, None, 'sum')
        assert loss == 0
        assert not torch.autograd.grad(loss, logits)[0].any()


@KINDS
def test_no_rows_give_no_losses(kind):
    logits, labels = torch.zeros(0, 4, requires_grad=True), torch.zeros(0, dtype=torch.long)
    loss = loss_of(kind, logits, labels, 2.0, 0.25, None, 'sum')
    assert loss == 0
    loss.backward()
    assert logits.grad.shape == (0, 4)


@pytest.mark.parametrize(('kind', 'largest'), [('sigmoid', 4), ('softmax', 3)])
def test_a_label_beyond_the_classes_is_named(kind, largest):
    logits = torch.zeros(2, 4)
    loss_of(kind, logits, torch.tensor([0, largest]))
    with pytest.raises(ValueError, match=f'given the label {largest + 1}, but the largest is {largest} here: `num_cl'):
        loss_of(kind, logits, torch.tensor([0, largest + 1]))


def test_the_loss_of_mmdet_equals_its_own_in_python():
    from torch.nn.functional import one_hot

    losses = import_module('mmdet.models.losses.focal_loss')
    logits, labels = logits_and_labels('sigmoid', torch.float32)
    labels = labels.where(labels >= 0, BACKGROUND)
    factors = torch.rand(len(labels))
    grads = []
    for function, target in (
        (losses.sigmoid_focal_loss, labels),
        (losses.py_sigmoid_focal_loss, one_hot(labels, BACKGROUND + 1)[:, :BACKGROUND]),
    ):
        loss = function(logits, target, factors, gamma=2.0, alpha=0.25, reduction='mean', avg_factor=3.0)
        grads.append([loss, *torch.autograd.grad(loss, logits)])
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)


# Cases and results of mmcv's own tests (Apache-2.0, https://github.com/open-mmlab/mmcv,
# tests/test_ops/test_focal_loss.py): logits, labels; means and gradients at a gamma of 2 and an alpha of 0.25.
TINY = [[1e-6, 2e-6, 3e-6], [4e-6, 5e-5, 6e-4], [7e-3, 8e-2, 9e-1]]
PUBLISHED = [
    ('softmax', [[1.0, 0], [0, 1]], [0, 1], 0.00566451, [[-0.00657264, 0.00657264], [0.00657264, -0.00657264]]),
    (
        'softmax',
        [[1.0, 0, -1], [0, 1, 2]],
        [2, 1],
        0.34956908,
        [[0.10165970, 0.03739851, -0.13905823], [0.01227554, -0.10298023, 0.09070466]],
    ),
    (
        'softmax',
        TINY,
        [1, 2, 0],
        0.15754992,
        [
            [0.02590877, -0.05181759, 0.02590882],
            [0.02589641, 0.02589760, -0.05179400],
            [-0.07307514, 0.02234372, 0.05073142],
        ],
    ),
    ('sigmoid', [[1.0, 0], [0, 1]], [0, 1], 0.13562961, [[-0.00657264, 0.11185755], [0.11185755, -0.00657264]]),
    (
        'sigmoid',
        [[1.0, 0, -1], [0, 1, 2]],
        [2, 1],
        1.10251057,
        [[0.28808805, 0.11185755, -0.09602935], [0.11185755, -0.00657264, 0.40376765]],
    ),
    (
        'sigmoid',
        TINY,
        [1, 2, 0],
        0.42287254,
        [
            [0.07457182, -0.02485716, 0.07457201],
            [0.07457211, 0.07457669, -0.02483728],
            [-0.02462499, 0.08277918, 0.18050370],
        ],
    ),
]


@DEVICES
@pytest.mark.parametrize('case', PUBLISHED)
def test_results_are_those_that_mmcv_publishes(case, device):
    kind, logits, labels, mean, grad = case
    logits = torch.tensor(logits, device=device, requires_grad=True)
    loss = loss_of(kind, logits, torch.tensor(labels, device=device), 2.0, 0.25, None, 'mean')
    assert math.isclose(loss.item(), mean, rel_tol=1e-5)
    loss.backward()
    torch.testing.assert_close(logits.grad.cpu(), torch.tensor(grad), atol=1e-7, rtol=1e-5)


@pytest.mark.cuda
@KINDS
def test_results_equal_those_of_the_compiled_operators(kind, monkeypatch):
    if importlib.machinery.PathFinder.find_spec('mmcv._ext', mmcv.__path__) is None:
        pytest.skip('mmcv-lite has no compiled operators to compare with')
    logits, labels = logits_and_labels(kind, torch.float32, 'cuda')
    results = []
    for ext in (focal_loss, import_module('mmcv._ext')):
        monkeypatch.setattr(import_module('mmcv.ops.focal_loss'), 'ext_module', ext)
        loss = loss_of(kind, logits, labels, 2.0, 0.25, None, 'sum')
        results.append([loss, *torch.autograd.grad(loss, logits)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)
