"""Triton's kernels against the blocks; on a CPU, where there is no GPU, in Triton's interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ovkd_mm.fused import blocks, operation

triton = pytest.importorskip('triton', minversion='3.0', reason='whose interpreter runs on a CPU')
kernels = pytest.importorskip('ovkd_mm.fused.kernels')
DEVICE = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
SHAPES = [(2, 3, 5, 7), (1, 1, 70, 70), (5, 17, 1, 1), (4, 6, 9)]
CASES = [
    *((shape, torch.float32, layout) for shape in SHAPES for layout in ('contiguous', 'channels last')),
    ((3, 130, 4, 4), torch.float32, 'channels last'),
    *(((2, 3, 5, 7), dtype, 'channels last') for dtype in (torch.float16, torch.bfloat16)),
    ((2, 3, 5, 7), torch.float16, 'contiguous'),
]
LAYOUTS = {
    'contiguous': lambda x: x.contiguous(),
    'channels last': lambda x: x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x.contiguous(),
}
TOLERANCE = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 1e-2}


def features(shape, dtype=torch.float32, layout='contiguous', teacher_layout=None):
    torch.manual_seed(0)
    student, teacher = 3 * torch.randn(shape) + 1, torch.randn(shape)
    student, teacher = LAYOUTS[layout](student), LAYOUTS[teacher_layout or layout](teacher)
    margin = -torch.rand(shape[1])
    return student.to(dtype), teacher.to(dtype), margin


def to(device, *tensors):
    return [None if one is None else one.to(device) for one in tensors]


def close(found, expected, tolerance):
    assert found.dtype == expected.dtype
    scale = expected.abs().max().item()
    torch.testing.assert_close(found.cpu().double(), expected.double(), rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize('with_margin', [True, False])
@pytest.mark.parametrize(('shape', 'dtype', 'layout'), CASES)
def test_distance_count_and_gradient_are_those_of_the_blocks(shape, dtype, layout, with_margin):
    student, teacher, margin = features(shape, dtype, layout)
    margin = margin if with_margin else None
    expected_gradient = torch.empty_like(student)
    expected = blocks.compare(student, teacher, margin, expected_gradient, 0.3)
    student, teacher, margin = to(DEVICE, student, teacher, margin)
    gradient = torch.full_like(student, torch.nan)
    total, skipped = kernels.compare(student, teacher, margin, gradient, 0.3)
    close(total, expected[0], TOLERANCE[dtype])
    assert 0 < skipped == expected[1]
    close(gradient, expected_gradient, TOLERANCE[dtype])
    assert kernels.compare(student, teacher, margin, None, 0.3)[0] == total


@pytest.mark.parametrize('given', [True, False])
@pytest.mark.parametrize(('shape', 'dtype', 'layout'), CASES)
def test_with_a_batch_norm_all_is_as_of_the_blocks(shape, dtype, layout, given):
    student, teacher, margin = features(shape, dtype, layout)
    channels = shape[1]
    moments = torch.stack((torch.randn(channels), torch.rand(channels) + 0.5)) if given else None
    norm = blocks.Norm(torch.randn(channels), torch.randn(channels), moments, 1e-5)
    expected_gradient = torch.empty_like(student)
    expected = blocks.compare_normalized(student, norm, teacher, margin, expected_gradient, 0.3)
    student, teacher, margin = to(DEVICE, student, teacher, margin)
    norm = blocks.Norm(*to(DEVICE, *norm[:3]), norm.eps)
    gradient = torch.full_like(student, torch.nan)
    found = kernels.compare_normalized(student, norm, teacher, margin, gradient, 0.3)
    close(found[0], expected[0], TOLERANCE[dtype])
    assert abs(found[1] - expected[1]) <= 1  # a number at the edge may fall to either side
    close(found[2], expected[2], 1e-5)
    close(found[3], expected[3], TOLERANCE[dtype])
    close(gradient, expected_gradient, 3 * TOLERANCE[dtype])
    assert kernels.compare_normalized(student, norm, teacher, margin, None, 0.3)[0] == found[0]


@pytest.mark.parametrize('tile', [4, 256])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_tiles_of_any_size_come_to_the_same(monkeypatch, layout, tile):
    student, teacher, margin = features((2, 12, 5, 3), layout=layout)
    norm = blocks.Norm(torch.randn(12), torch.randn(12), None, 1e-5)
    expected_gradient = torch.empty_like(student)
    expected = blocks.compare_normalized(student, norm, teacher, margin, expected_gradient, 1.0)
    monkeypatch.setattr(kernels, 'TILE', tile if layout == 'contiguous' else 16 * tile)
    student, teacher, margin, *norm = to(DEVICE, student, teacher, margin, *norm[:3])
    gradient = torch.empty_like(student)
    found = kernels.compare_normalized(student, blocks.Norm(*norm, 1e-5), teacher, margin, gradient, 1.0)
    close(gradient, expected_gradient, 1e-5)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('shape', SHAPES)
def test_negatives_are_those_of_the_blocks(shape, layout):
    feature, *_ = features(shape, layout=layout)
    count, total = kernels.negatives(feature.to(DEVICE))
    expected = blocks.negatives(feature)
    assert torch.equal(count.cpu(), expected[0])
    close(total, expected[1], 1e-5)


def test_a_teacher_that_lies_otherwise_is_read_right():
    student, teacher, margin = features((2, 5, 4, 3), layout='channels last', teacher_layout='contiguous')
    expected = blocks.compare(student, teacher, margin, None, 1.0)
    student, teacher, margin = to(DEVICE, student, teacher, margin)
    found = kernels.compare(student, teacher, margin, None, 1.0)
    close(found[0], expected[0], 1e-5)
    assert found[1] == expected[1]


@pytest.mark.parametrize('whose', ['student', 'teacher'])
def test_what_is_not_a_number_is_not_hidden(whose):
    student, teacher, margin = features((2, 3, 4, 4))
    (student if whose == 'student' else teacher)[1, 2, 3, 3] = torch.nan
    student, teacher, margin = to(DEVICE, student, teacher, margin)
    gradient = torch.zeros_like(student)
    assert kernels.compare(student, teacher, margin, gradient, 1.0)[0].isnan()
    assert gradient.isnan().sum() == 1
    norm = blocks.Norm(*to(DEVICE, torch.ones(3), torch.zeros(3), None), 1e-5)
    assert kernels.compare_normalized(student, norm, teacher, margin, gradient, 1.0)[0].isnan()


def test_an_autograd_step_through_the_kernels_is_that_of_the_formulas(monkeypatch):
    student, teacher, margin = to(DEVICE, *features((4, 6, 5, 5)))
    found = {}
    for name, backend in dict(kernels=kernels, blocks=blocks).items():
        device = DEVICE if name == 'kernels' else 'cpu'
        monkeypatch.setattr(operation, '_backend', lambda feature, backend=backend: backend)
        torch.manual_seed(1)
        norm = nn.BatchNorm2d(6).to(device)
        leaf = student.to(device).clone().requires_grad_()
        total, _ = operation.normalized_partial_l2(leaf, norm, teacher.to(device), margin.to(device), 0.7)
        (3 * total).backward()
        found[name] = [total, leaf.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var]
    for one, other in zip(*found.values(), strict=True):
        torch.testing.assert_close(one.detach().cpu(), other.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(('capability', 'dtype'), [(70, 'fp16'), (90, 'bf16')])
def test_they_compile_for_a_gpu_also_where_there_is_none(capability, dtype):
    if 'nvidia' not in triton.backends.backends:
        pytest.skip('this triton does not compile for GPUs of NVIDIA')
    script = Path(__file__).resolve().parents[1] / 'compile_kernels.py'
    environment = {name: value for name, value in os.environ.items() if name != 'TRITON_INTERPRET'}
    run = subprocess.run(
        [sys.executable, script, str(capability), dtype], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.count('bytes') == 10
