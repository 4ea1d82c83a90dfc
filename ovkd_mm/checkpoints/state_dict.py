"""Taking weights out of checkpoints, and loading them so that a misfit is an error, not a warning."""

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from .stock_keys import DISTILLER

__all__ = ['load_strictly', 'model_weights']


def model_weights(checkpoint: Mapping) -> dict[str, Tensor]:
    """The weights of a checkpoint; for a distillation's, those of the student without the training-only parts.

    They are under ``state_dict`` (mmengine, timm), under ``model`` (torchvision's scripts and others) or all there is.
    """
    kept = [checkpoint[key] for key in ('state_dict', 'model') if isinstance(checkpoint.get(key), Mapping)]
    state = _copied(kept[0] if kept else checkpoint)
    for wrapper in ('module.', '_orig_mod.', 'module.'):  # of DDP, of torch.compile, and of DDP within the latter
        consume_prefix_in_state_dict_if_present(state, wrapper)
    for key in [key for key in state if key.startswith(DISTILLER)]:
        del state[key]
    return state


def load_strictly(model: nn.Module, state_dict: Mapping[str, Tensor], source: str) -> None:
    """Load every weight of ``model`` or raise, saying how many keys of how many fit.

    Modules may rename the keys of older checkpoints while loading, so the answer is taken from the loading itself.
    A missing ``num_batches_tracked``, which old checkpoints lack, is not a misfit.

    Args:
        model: Model to load into.
        state_dict: Weights by key.
        source: Config key and value that named the weights, for the message.

    Raises:
        ValueError: If keys are missing, unexpected or of another shape.
    """
    own = model.state_dict()
    reshaped = [key for key, value in state_dict.items() if key in own and _shape(value) != _shape(own[key])]
    fitting = _copied(state_dict)
    fitting.update({key: own[key] for key in reshaped})
    missing, unexpected = model.load_state_dict(fitting, strict=False)
    matching = len(own) - len(missing) - len(reshaped)
    missing = [key for key in missing if not key.endswith('num_batches_tracked')]
    misfits = {'missing': missing, 'unexpected': unexpected, 'of another shape': reshaped}
    if any(misfits.values()):
        details = '; '.join(
            f'{len(keys)} {what}: {", ".join(keys[:3])}{", ..." if len(keys) > 3 else ""}'
            for what, keys in misfits.items()
            if keys
        )
        raise ValueError(
            f'{source} does not fit the model {type(model).__name__}: {matching} of '
            f"{len(own)} of the model's keys match ({details}); use the config that the checkpoint was trained with"
        )


def _copied(state: Mapping) -> OrderedDict[str, Tensor]:
    """A copy with the versions of modules, by which these tell old checkpoints, and which loading may rename."""
    copied = OrderedDict(state)
    if versions := getattr(state, '_metadata', None):
        vars(copied)['_metadata'] = dict(versions)
    return copied


def _shape(value: object) -> tuple[int, ...] | None:
    """A tensor's shape; what a module keeps as its extra state may be anything else."""
    return tuple(value.shape) if isinstance(value, Tensor) else None
