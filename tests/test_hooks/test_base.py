from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseTTAModel, MMDistributedDataParallel
from mmengine.registry import MODELS
from toy import distiller_config, toy_runner

from ovkd_mm.hooks.base import DistillerHook


def wrapped(model):
    ddp = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    torch.nn.Module.__init__(ddp)
    ddp.module = model
    return ddp


def test_the_model_is_found_with_and_without_a_wrapper():
    model = MODELS.build(distiller_config())
    for around in (model, wrapped(model)):
        assert DistillerHook().distiller(SimpleNamespace(model=around)) is model


def test_another_model_is_an_error_that_names_the_hook():
    class Own(DistillerHook):
        pass

    with pytest.raises(TypeError, match='Own needs a FeatureDistiller, got ToyClassifier'):
        Own().distiller(SimpleNamespace(model=wrapped(MODELS.build(dict(type='ToyClassifier')))))


def test_the_model_is_found_behind_test_time_augmentation():
    class Twice(BaseTTAModel):
        def merge_preds(self, samples):
            return samples

    model = MODELS.build(distiller_config())
    assert DistillerHook().distiller(SimpleNamespace(model=wrapped(Twice(model)))) is model


@pytest.mark.parametrize(
    'hook', [dict(type='DistillScheduleHook', schedule='linear'), dict(type='ConnectorWarmupHook', iters=1)]
)
def test_a_second_hook_that_would_undo_the_first_is_refused(tmp_path, hook):
    hook = hook | dict(type=f'ovkd_mm.{hook["type"]}')
    runner = toy_runner(tmp_path, distiller_config(), custom_hooks=[hook, hook])
    with pytest.raises(ValueError, match=f'custom_hooks: {hook["type"][8:]} is there more than once'):
        runner.train()


def test_a_wrapper_around_each_part_is_refused():
    model = MODELS.build(distiller_config())
    model.pairs = wrapped(model.pairs)
    with pytest.raises(ValueError, match=r'^model_wrapper_cfg: a distillation is wrapped as a whole'):
        DistillerHook().distiller(SimpleNamespace(model=model))
