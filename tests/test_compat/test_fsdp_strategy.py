import types
from unittest import mock

import torch
from mmengine._strategy import fsdp
from mmengine.optim import OptimWrapper
from torch import nn

from ovkd_mm.compat.fsdp_strategy import patch


def strategy(kind: type) -> fsdp.FSDPStrategy:
    """A strategy that holds what a loading touches."""
    made = object.__new__(kind)
    made.model = nn.Linear(2, 1)
    made.optim_wrapper = OptimWrapper(torch.optim.SGD(made.model.parameters(), lr=0.1, momentum=0.9))
    return made


def load(one: fsdp.FSDPStrategy, monkeypatch) -> None:
    """Load a state whose learning rate torch's conversion has changed; see that torch was given what it asks for."""
    whole, sharded = one.optim_wrapper.state_dict(), one.optim_wrapper.state_dict()
    sharded['param_groups'][0]['lr'] = 0.25
    convert = mock.create_autospec(fsdp.FSDP.optim_state_dict_to_load, return_value=sharded)
    monkeypatch.setattr(fsdp.FSDP, 'optim_state_dict_to_load', convert)
    one.load_optim_state_dict(whole)
    given = dict(model=one.model, optim=one.optim_wrapper.optimizer, optim_state_dict=whole)
    assert convert.call_args == mock.call(**given)
    assert one.optim_wrapper.optimizer.param_groups[0]['lr'] == 0.25


def test_a_resumed_optimizer_gets_its_state_as_torch_shards_it(monkeypatch):
    load(strategy(fsdp.FSDPStrategy), monkeypatch)


def test_a_strategy_is_mended_where_it_is(monkeypatch):
    module = types.SimpleNamespace(FSDP=fsdp.FSDP, FSDPStrategy=type('FSDPStrategy', (), {}))
    patch(module)
    load(strategy(module.FSDPStrategy), monkeypatch)
