"""InitialWeightsHook: refuses initial weights of which none fits."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel

from ..checkpoints.state_dict import model_weights
from ..distillers.method_hooks import unwrapped
from ..registry import HOOKS

__all__ = ['InitialWeightsHook']


@HOOKS.register_module()
class InitialWeightsHook(Hook):
    """Makes a ``load_from`` of which nothing fits the model an error.

    Some of it is enough, as for a head with other classes. Of none upstream logs the names of all weights and trains
    from scratch. A training that resumes is left to ``CheckpointFitHook``, one with FSDP or DeepSpeed to these.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the checkpoint's names and shapes with the model's.

        Raises:
            ValueError: If no weight fits.
        """
        if not isinstance(runner, Runner) or runner._resume or isinstance(runner.model, FullyShardedDataParallel):
            return
        own, found = (_shapes(one) for one in (unwrapped(runner.model).state_dict(), model_weights(checkpoint)))
        if not own.items() & found.items():
            theirs, ours = (', '.join(list(one)[:3]) or 'nothing' for one in (found, own))
            raise ValueError(
                f'load_from={runner._load_from!r}: none of its weights has the name and the shape of one of the model, '
                f'which would begin at random; it has {theirs}, ..., and the model {ours}, ...'
            )


def _shapes(state: dict) -> dict[str, tuple[int, ...]]:
    """Without counters, which always fit."""
    return {key: tuple(value.shape) for key, value in state.items() if isinstance(value, Tensor) and value.dim()}
