"""Lets models with ``MMSyncBN`` train without mmcv's compiled operators."""

from types import ModuleType

from . import mmcv_ops


def patch(module: ModuleType) -> None:
    """Replace mmcv's synchronized batch norm by torch's, which can do today what mmcv's was written for.

    That is to take empty batches (pytorch#36530, fixed in torch 1.9), as the configs that ask for it say. Names of
    weights and buffers are the same.

    Args:
        module: ``mmcv.ops.sync_bn``.
    """
    if module.ext_module.__spec__.origin != mmcv_ops.__name__:
        return
    from mmengine.registry import MODELS
    from torch import nn

    module.SyncBatchNorm = nn.SyncBatchNorm  # type: ignore[attr-defined]
    MODELS.register_module(name='MMSyncBN', module=nn.SyncBatchNorm, force=True)


__all__ = ['patch']
