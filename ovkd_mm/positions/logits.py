"""Position of KD: class scores."""

from ..registry import TASK_UTILS
from .module_output import ModuleOutput

__all__ = ['Logits']


@TASK_UTILS.register_module()
class Logits(ModuleOutput):
    """The output of a classifier, as it is. A method with this position joins ``logits`` in place of ``pairs``."""

    listed_in = 'logits'
