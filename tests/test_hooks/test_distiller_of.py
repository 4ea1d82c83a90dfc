from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import IterTimerHook
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODELS
from toy import distiller_config

from ovkd_mm.hooks.distiller_of import distiller_of, unwrapped


def wrapped(model):
    ddp = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    torch.nn.Module.__init__(ddp)
    ddp.module = model
    return ddp


def test_the_model_is_found_with_and_without_a_wrapper():
    model = MODELS.build(distiller_config())
    for around in (model, wrapped(model)):
        assert unwrapped(SimpleNamespace(model=around)) is model
        assert distiller_of(SimpleNamespace(model=around), IterTimerHook()) is model


def test_another_model_is_an_error_that_names_the_hook():
    with pytest.raises(TypeError, match='IterTimerHook needs a FeatureDistiller, got ToyClassifier'):
        distiller_of(SimpleNamespace(model=wrapped(MODELS.build(dict(type='ToyClassifier')))), IterTimerHook())
