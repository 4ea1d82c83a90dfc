"""StudentFacade: a model that passes for the student inside it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from mmengine.model import BaseModel
from torch import Tensor, nn

from ..checkpoints.stock_keys import DISTILLER, from_stock, rename_keys, to_stock
from ..registry import MODELS
from .optimizer_view import register_for_optimizers, with_children

__all__ = ['StudentFacade']

# FSDP, right around the model, looks for its parameters by the names that they have in the model; see FSDPKeysHook.
FSDP_PREFIX = '_fsdp_wrapped_module.'


class StudentFacade(BaseModel):
    """Hooks, tools and checkpoints see only the student; what this model adds lies beside it in the module tree.

    The student's keys are those of the plain student, the keys of what is added begin with ``distiller.``; the
    constructors of optimizers see the parameters under the same names.

    Args:
        student: Model config of any toolkit; left as it is.

    Raises:
        ValueError: If the student is such a model itself, or has a ``train_step`` of its own.
    """

    def __init__(self, student: dict) -> None:
        super().__init__()
        del self.data_preprocessor  # the student has its own, which __getattr__ finds
        self.student = MODELS.build(student)
        if isinstance(self.student, StudentFacade):
            raise ValueError(
                f'model.student is a {type(self.student).__name__} itself, and the two would have the same keys in a '
                'checkpoint. For several methods list them in method; for several teachers train with one after the '
                "other (load_from the first training's checkpoint)"
            )
        if getattr(type(self.student), 'train_step', BaseModel.train_step) is not BaseModel.train_step:
            raise ValueError(
                f'model.student: {type(self.student).__name__} has a train_step of its own, which a distillation would '
                'not run: it adds losses to those that the student returns from forward in mode="loss"'
            )
        hooks = self.student._state_dict_hooks
        hooks.update({key: partial(_in_place, hook) for key, hook in hooks.items()})
        self._register_state_dict_hook(_name_keys_as_the_student_does)

    def as_student(self) -> nn.Module:
        """A view of the student with one more child, ``distiller``, that holds what is not the student's.

        Its parameters are the same and in the same order, under the names that they have in a checkpoint.
        """
        added = nn.Module()
        # Also a parameter right in this module: FSDP leaves one there.
        added._parameters = self._parameters
        added._modules = {name: child for name, child in self._modules.items() if name != 'student'}
        # Within FSDP the student may be wrapped, and constructors look into whatever has a ``module``.
        student = getattr(self.student, 'module', self.student)
        return with_children(student, **{DISTILLER.removesuffix('.'): added})

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """As the student does, but ``loss`` in the log is the total; mmpretrain's heads call the task's loss that."""
        loss, log = self.student.parse_losses(losses)
        if 'loss' in losses:
            log = {'loss': loss, 'loss_task': log.pop('loss'), **log}
        return loss, log

    def val_step(self, data: dict | tuple | list) -> list:
        """As the student does."""
        return self.student.val_step(data)

    def test_step(self, data: dict | tuple | list) -> list:
        """As the student does."""
        return self.student.test_step(data)

    def __getattr__(self, name: str) -> Any:
        """Whatever else a hook or a tool looks for (``bbox_head``, ``data_preprocessor``) is the student's."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__('student'), name)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        if not prefix.endswith(FSDP_PREFIX):
            listings = (self.named_parameters(remove_duplicate=False), self.named_buffers(remove_duplicate=False))
            own = {name for names in listings for name, _ in names}

            def rename(key: str) -> str:
                # A hook may load by the names of the module tree: mmdet's SyncNormHook.
                name = from_stock(key)
                return key if key in own and name not in own else name

            rename_keys(state_dict, prefix, rename)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _in_place(hook: Callable, module: nn.Module, state_dict: dict, prefix: str, local_metadata: dict) -> None:
    """Apply a student's hook in place: torch uses what one returns (mmpretrain's TimmClassifier) only for a root."""
    renamed = hook(module, state_dict, prefix, local_metadata)
    if renamed is not None:
        items = list(renamed.items())
        state_dict.clear()
        state_dict.update(items)


def _name_keys_as_the_student_does(module: StudentFacade, state_dict: dict, prefix: str, local_metadata: dict) -> None:
    if not prefix.endswith(FSDP_PREFIX):
        rename_keys(state_dict, prefix, to_stock)


register_for_optimizers(StudentFacade)
