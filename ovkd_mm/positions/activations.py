"""Which modules are activations."""

import torch
from torch import nn

from ..rng import preserve_rng_state

__all__ = ['FUNCTIONS', 'is_activation']

KNOWN = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.RReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
)
# What autograd calls them where a forward calls a function (F.relu) instead of a module.
FUNCTIONS = {
    f'{name}Backward0'
    for name in (
        *('Relu', 'Hardtanh', 'LeakyRelu', 'RreluWithNoise', 'PreluKernel', 'Elu'),
        *('Celu', 'Gelu', 'Silu', 'Mish', 'Hardswish'),
    )
}
FAR = 20.0  # where every activation is what it will be
PROBE = (-FAR, -3.0, -1.0, -0.3, 0.3, 1.0, 3.0, FAR)


def is_activation(module: nn.Module) -> bool:
    """Whether a module is one of torch's activations or computes what they do, as mmcv's ``Swish``.

    They let positive responses pass, or clip large ones, and flatten negative ones. Sigmoid and its kin are gates and
    class scores, not activations of a feature.
    """
    if isinstance(module, KNOWN):
        return True
    if any(True for _ in module.children()) or any(True for _ in module.buffers()):
        return False
    if any(parameter.dim() > 1 for parameter in module.parameters()):
        return False
    channels = max((parameter.numel() for parameter in module.parameters()), default=1)
    device = next((parameter.device for parameter in module.parameters()), torch.device('cpu'))
    probe = torch.tensor(PROBE, device=device).view(1, 1, 1, -1).repeat(1, channels, 1, 1)
    training = module.training
    try:
        with torch.no_grad(), preserve_rng_state():
            module.training = False
            out = module.forward(probe.clone())
    except Exception:  # it wants something else: other inputs, another number of dimensions
        return False
    finally:
        module.training = training
    if not isinstance(out, torch.Tensor) or out.shape != probe.shape or not torch.isfinite(out).all():
        return False
    return _bends(probe, out)


def _bends(x: torch.Tensor, out: torch.Tensor) -> bool:
    """Whether small positive responses pass nearly whole, and large negative ones far less than large positive ones."""
    positive, negative = out[..., -2], out[..., 0]
    passes = (out[..., 4:7] >= 0.4 * x[..., 4:7]).all() and (out[..., 4:7] <= 1.2 * x[..., 4:7]).all()
    return bool(passes and (negative.abs() < 0.5 * FAR).all() and (positive > 2.0).all())
