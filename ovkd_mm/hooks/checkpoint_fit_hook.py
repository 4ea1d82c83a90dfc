"""CheckpointFitHook: refuses another model's checkpoint."""

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from ..checkpoints.state_dict import load_strictly
from ..checkpoints.stock_keys import DISTILLER
from ..distillers.method_hooks import unwrapped
from ..registry import HOOKS

__all__ = ['CheckpointFitHook']


@HOOKS.register_module()
class CheckpointFitHook(Hook):
    """Makes a checkpoint that does not fit the model an error; upstream only warns.

    The training-only parts of a distillation checkpoint are left aside where the model is the plain student, but not
    where a training resumes. A model that FSDP has cut into shards is left to FSDP's own, strict loading.

    Args:
        needed: What the checkpoint must hold beside the weights, for a training that resumes from it.
    """

    def __init__(self, needed: Sequence[str] = ()) -> None:
        self.needed = needed

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the checkpoint with the model.

        Raises:
            ValueError: If keys are missing, unexpected or of another shape, or if more than weights is needed.
        """
        if isinstance(runner.model, FullyShardedDataParallel):
            return
        model = unwrapped(runner.model)
        state = checkpoint.get('state_dict', checkpoint)
        own = model.state_dict()
        if not any(key.startswith('module.') for key in own):
            consume_prefix_in_state_dict_if_present(state, 'module.')  # upstream does so too, but only after this
        if not self.needed:
            for key in [key for key in state if key.startswith(DISTILLER) and key not in own]:
                del state[key]
        load_strictly(model, state, 'the checkpoint')
        missing = [key for key in self.needed if key not in checkpoint]
        if missing:
            raise ValueError(
                f'the checkpoint lacks {", ".join(missing)}, which a training needs to resume; to start another one '
                'from its weights, leave --resume out and set load_from'
            )
