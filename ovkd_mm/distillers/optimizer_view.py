"""What the constructors of optimizers get for a model that passes for its student."""

import functools
from collections.abc import Callable
from typing import Any, Protocol

from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from ..checkpoints.stock_keys import DISTILLER
from .method_hooks import unwrapped

__all__ = ['register_for_optimizers', 'with_children']


class _PassesForStudent(Protocol):
    def as_student(self) -> nn.Module: ...


def register_for_optimizers(kind: type[_PassesForStudent]) -> None:
    """Let every optimizer constructor get ``model.as_student()`` of a model of this kind.

    Constructors tell parameters by their names (``backbone.layers.0``, or a key of ``paramwise_cfg``) and ask the model
    itself (``model.backbone``, ``model.get_layer_depth``), each in its own manner: what they have in common is that a
    registry builds them and that they are called with the model. So they are intercepted in the registry's
    ``build_func``, whichever runner or strategy asks, even one that imported ``build_optim_wrapper`` before us.

    Overriding the model's ``named_parameters`` and ``named_children`` would not do: ``to``, ``train`` and ``apply`` use
    them, and FSDP and taps expect their names to work as attributes. Passing the student itself, with the rest as an
    extra group, would not do either: the rest would escape ``paramwise_cfg``, optimizer states saved earlier would not
    fit, and if there are several optimizers, only the constructor knows which takes what.

    Args:
        kind: Class of the models.
    """
    OPTIM_WRAPPER_CONSTRUCTORS.build_func = _meeting(OPTIM_WRAPPER_CONSTRUCTORS.build_func, kind)


def with_children(module: nn.Module, **children: nn.Module) -> nn.Module:
    """A module with the class, the attributes and the parameters of another, and more children, which that one lacks.

    It shares everything with that module, and is only for reading.
    """
    view = object.__new__(type(module))
    view.__dict__.update(module.__dict__, _modules={**module._modules, **children})
    return view


def _meeting(upstream: Callable, kind: type[_PassesForStudent]) -> Callable:
    @functools.wraps(upstream)
    def build(*args: Any, **kwargs: Any) -> Callable:
        constructor = upstream(*args, **kwargs)

        @functools.wraps(constructor)
        def construct(model: nn.Module) -> Any:
            bare = unwrapped(model)
            if not isinstance(bare, kind):
                return constructor(model)
            view = bare.as_student()
            _check_custom_keys(getattr(constructor, 'paramwise_cfg', None) or {}, view)
            return constructor(view)

        return construct

    return build


def _check_custom_keys(paramwise: dict, view: nn.Module) -> None:
    """Refuse the names that a config has for student and teacher, under which constructors find no parameter of them.

    Worse, ``student`` is part of the name of a pair's ``student_transform``.
    """
    names = [name for name, _ in view.named_parameters() if not name.startswith(DISTILLER)]
    for key in paramwise.get('custom_keys') or {}:
        parts = key.removeprefix('model.').split('.')
        if parts[0] in ('student', 'teacher') and not any(key in name for name in names):
            raise ValueError(
                f'optim_wrapper.paramwise_cfg.custom_keys: {key!r} is no part of the student: its parameters have the '
                f'names that they have without a distillation, such as {names[0]!r}, and the teacher has none to train'
            )
