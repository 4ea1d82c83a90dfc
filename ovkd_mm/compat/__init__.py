"""What lets the toolkits run on today's Python, torch, numpy and setuptools.

Importing this package imports neither torch nor a toolkit: each patch waits for the module that it concerns.
"""

from types import ModuleType

from ..checkpoints import atomic_save, checkpoint_hook
from . import (
    activation_checkpointing,
    config_layout,
    config_names,
    fsdp_strategy,
    mmcv_ops,
    multimodal,
    package_utils,
    point_assigner,
    removed_names,
    ssd_head,
    sync_bn,
)
from .import_hook import when_imported


def install() -> None:
    """Put the patches in place; calling it again changes nothing."""
    mmcv_ops.install()
    when_imported('mmengine._strategy.fsdp', fsdp_strategy.patch)
    when_imported('mmengine.config.utils', config_names.patch)
    when_imported('mmengine.fileio.backends.local_backend', atomic_save.patch)
    when_imported('mmengine.hooks.checkpoint_hook', checkpoint_hook.patch)
    when_imported('mmengine.runner.activation_checkpointing', activation_checkpointing.patch)
    when_imported('mmengine.runner.checkpoint', _load_safely)
    when_imported('mmcv.ops.sync_bn', sync_bn.patch)
    when_imported('mmdet.models.dense_heads.ssd_head', ssd_head.patch)
    when_imported('mmdet.models.task_modules.assigners.point_assigner', point_assigner.patch)
    when_imported('mmengine.config.config', config_names.name_no_scope)
    when_imported('mmengine.config.config', config_names.look_into_the_folder)
    when_imported('mmengine.config.config', config_layout.patch)
    when_imported('mmpretrain.utils.dependency', multimodal.patch)
    for name in package_utils.HOLDERS:
        when_imported(name, package_utils.patch)
    for name in removed_names.REMOVED:
        when_imported(name, removed_names.patch)


def _load_safely(mmengine_checkpoint: ModuleType) -> None:
    from ..checkpoints import loading  # imports torch, so not before mmengine has

    loading.register_loaders(mmengine_checkpoint)


__all__ = ['install']
