"""Position without a rule: the output of a module, as it is."""

from typing_extensions import override

from ..registry import TASK_UTILS
from .base import Position
from .place import Place
from .trace import Trace

__all__ = ['ModuleOutput']


@TASK_UTILS.register_module()
class ModuleOutput(Position):
    """The output of the module's last call, as it is."""

    @override
    def resolve(self, trace: Trace) -> Place:
        return trace.place(self.path, trace.last_call(self.path), 'output')
