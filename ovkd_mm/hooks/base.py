"""The contract of hooks that work on a distillation."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from ..distillers import FeatureDistiller
from ..distillers.method_hooks import unwrapped

__all__ = ['DistillerHook']


class DistillerHook(Hook):
    """Base of the hooks that make sense only with a distiller.

    They belong to distillation: the plain config of a student leaves them out.
    """

    def distiller(self, runner: Runner) -> FeatureDistiller:
        """The runner's model, without DDP or FSDP around it.

        Raises:
            TypeError: If it is not a ``FeatureDistiller``.
            ValueError: If its parts are wrapped, not the whole.
        """
        model = unwrapped(runner.model)
        if not isinstance(model, FeatureDistiller):
            raise TypeError(f'{type(self).__name__} needs a FeatureDistiller, got {type(model).__name__}')
        if is_model_wrapper(model.pairs):
            raise ValueError(
                'model_wrapper_cfg: a distillation is wrapped as a whole, and this wraps its parts one by one, as '
                'MMSeparateDistributedDataParallel does; leave model_wrapper_cfg out, which takes '
                'MMDistributedDataParallel'
            )
        return model

    def refuse_another(self, runner: Runner) -> None:
        """For hooks of which a second one would undo what the first has done.

        Raises:
            ValueError: If the runner has another of the same class.
        """
        if sum(type(hook) is type(self) for hook in runner.hooks) > 1:
            raise ValueError(f'custom_hooks: {type(self).__name__} is there more than once; one would undo the other')
