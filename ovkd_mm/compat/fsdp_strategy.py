"""Lets a sharded training resume its optimizer on torch >= 2.1."""

from types import ModuleType
from typing import Any


def patch(fsdp: ModuleType) -> None:
    """Name the arguments of torch's ``optim_state_dict_to_load``, whose order changed in torch 2.1.

    Args:
        fsdp: ``mmengine._strategy.fsdp``.
    """

    def load_optim_state_dict(self: Any, state_dict: dict) -> None:
        state_dict = fsdp.FSDP.optim_state_dict_to_load(
            model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
        )
        self.optim_wrapper.load_state_dict(state_dict)

    fsdp.FSDPStrategy.load_optim_state_dict = load_optim_state_dict


__all__ = ['patch']
