"""FSDPKeysHook: checkpoints with the plain student's keys under FSDP."""

from mmengine.hooks import Hook
from mmengine.runner import FlexibleRunner
from torch.distributed.fsdp import FullyShardedDataParallel

from ..checkpoints.stock_keys import from_stock, rename_keys, to_stock
from ..distillers import FeatureDistiller
from ..registry import HOOKS

__all__ = ['FSDPKeysHook']


@HOOKS.register_module()
class FSDPKeysHook(Hook):
    """Gives a sharded distiller's checkpoint the same keys as that of any other distiller.

    A distiller names its keys itself, but within FSDP it must not: FSDP looks for each parameter in the state dict by
    the name that it has in the model. So they are renamed when the checkpoint is saved, and back when it is loaded.
    """

    def before_save_checkpoint(self, runner: FlexibleRunner, checkpoint: dict) -> None:
        """Name the student's keys as the plain student does."""
        if _is_sharded_distiller(runner.model):
            rename_keys(checkpoint['state_dict'], '', to_stock)

    def after_load_checkpoint(self, runner: FlexibleRunner, checkpoint: dict) -> None:
        """The way back."""
        if _is_sharded_distiller(runner.model):
            rename_keys(checkpoint.get('state_dict', checkpoint), '', from_stock)


def _is_sharded_distiller(model: object) -> bool:
    return isinstance(model, FullyShardedDataParallel) and isinstance(model.module, FeatureDistiller)
