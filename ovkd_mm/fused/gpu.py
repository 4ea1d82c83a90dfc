"""Whether Triton's kernels serve a GPU."""

import functools
import logging
from types import ModuleType

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ..functional import margin_relu, partial_l2
from .blocks import Norm

__all__ = ['kernels_for']


def kernels_for(feature: Tensor) -> ModuleType | None:
    """The kernels, where they serve a feature's device and dtype."""
    if feature.device.type != 'cuda' or feature.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return None
    return _tried(feature.device)


@functools.cache
def _tried(device: torch.device) -> ModuleType | None:
    """The kernels, if they come to what the plain formulas come to on a small feature."""
    try:
        from . import kernels

        _check(device, kernels)
    except Exception as error:  # whatever a compiler, a driver or an old GPU may raise
        print_log(
            f"OFD's operation is computed by the plain formula on {device}, as Triton fails there: {error}",
            logger='current',
            level=logging.WARNING,
        )
        return None
    return kernels


def _check(device: torch.device, kernels: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)  # leaves the training's random numbers alone
    student, teacher = torch.randn(2, 2, 5, 7, 9, generator=generator).to(device)
    margin = -torch.rand(5, generator=generator).to(device)
    scale, shift = (torch.rand(2, 5, generator=generator) + 0.5).to(device)
    norm = Norm(scale, shift, None, 1e-5)
    with torch.enable_grad():
        leaf = student.clone().requires_grad_()
        normalized = nn.functional.batch_norm(leaf, None, None, norm.scale, norm.shift, True, 0.0, norm.eps)
        expected = partial_l2(normalized, margin_relu(teacher, margin))
        expected.backward()
    gradient = torch.empty_like(student)
    found, *_ = kernels.compare_normalized(student, norm, teacher, margin, gradient, 1.0)
    if not (torch.allclose(found, expected, rtol=1e-3) and torch.allclose(gradient, leaf.grad, rtol=1e-3, atol=1e-4)):
        raise ValueError('its result is not that of the formula')
