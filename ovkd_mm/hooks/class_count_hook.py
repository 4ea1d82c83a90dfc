"""ClassCountHook: compares the classes of head and data set."""

from mmengine.hooks import Hook
from mmengine.model import BaseModule
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ..distillers.method_hooks import unwrapped
from ..registry import HOOKS
from ..toolkits import TOOLKITS

__all__ = ['ClassCountHook', 'classifying_heads']

CLASSIFIERS = {name for toolkit in TOOLKITS.values() for name in toolkit.classifiers}
HEADS = {name for toolkit in TOOLKITS.values() for name in toolkit.heads}


def classifying_heads(runner: Runner) -> dict[str, BaseModule]:
    """The heads of mmseg's and mmpretrain's models that have ``num_classes``, by their keys in the config.

    Args:
        runner: Of the model.
    """
    return {
        f'model.{path}': module
        # In a distiller's own names the student's begin with 'student.', as they do in the config.
        for path, module in unwrapped(runner.model).named_modules()
        if 'num_classes' in vars(module)
        and (path.rpartition('.')[2] in HEADS or CLASSIFIERS.intersection(dict(module.named_children())))
    }


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Compares ``num_classes`` of mmseg's and mmpretrain's heads with the classes of the data set.

    With too few the loss stops with an index out of bounds (on a GPU, with a failed assertion somewhere later); with
    too many it trains without a warning.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare with the training set.

        Raises:
            ValueError: If a head has another number of classes.
        """
        self._check(runner, runner.train_dataloader)

    def before_val(self, runner: Runner) -> None:
        """Compare with the validation set."""
        self._check(runner, runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Compare with the test set."""
        self._check(runner, runner.test_dataloader)

    def _check(self, runner: Runner, loader: DataLoader) -> None:
        classes = (getattr(loader.dataset, 'metainfo', None) or {}).get('classes')
        if classes is None:
            return
        for key, head in classifying_heads(runner).items():
            if head.num_classes != len(classes):
                raise ValueError(
                    f'{key}.num_classes={head.num_classes}, but {type(loader.dataset).__name__} has '
                    f'{len(classes)} classes ({", ".join(classes[:3])}, ...); set '
                    f'{key}.num_classes={len(classes)}, or other metainfo.classes of the data set'
                )
