"""What autocast makes of an operation, asked as torch 2.1 and as later ones take the question."""

import torch

__all__ = ['autocast_dtype']


def autocast_dtype(kind: str) -> torch.dtype | None:
    """The dtype that autocast lowers to, or None where it is off.

    Args:
        kind: Of the device, ``'cpu'`` or ``'cuda'``.
    """
    if hasattr(torch, 'get_autocast_dtype'):
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    if kind == 'cpu':
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None
