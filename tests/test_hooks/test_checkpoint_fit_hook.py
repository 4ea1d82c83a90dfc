from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import MODELS
from toy import distiller_config

from ovkd_mm.hooks import CheckpointFitHook


def after_load(model, state):
    checkpoint = dict(state_dict=state)
    CheckpointFitHook().after_load_checkpoint(SimpleNamespace(model=model), checkpoint)
    return checkpoint['state_dict']


def plain(**changes):
    return MODELS.build(dict(type='ToyClassifier') | changes)


def test_the_plain_student_leaves_the_training_only_parts_aside():
    distilled = MODELS.build(distiller_config())
    left = after_load(plain(), distilled.state_dict())
    assert list(left) == list(plain().state_dict())


def test_a_distiller_keeps_them():
    distilled = MODELS.build(distiller_config())
    assert list(after_load(distilled, distilled.state_dict())) == list(distilled.state_dict())


def test_another_models_checkpoint_is_an_error():
    with pytest.raises(ValueError, match='of another shape'):
        after_load(plain(), plain(width=5).state_dict())
    with pytest.raises(ValueError, match=r'missing: .*pairs'):
        after_load(MODELS.build(distiller_config()), plain().state_dict())


def test_a_wrapped_model_is_compared_without_its_wrapper():
    from mmengine.model import MMDistributedDataParallel

    wrapped = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    torch.nn.Module.__init__(wrapped)
    wrapped.module = plain()
    after_load(wrapped, plain().state_dict())


def wrapped(state):
    return {f'module.{key}': value for key, value in state.items()}


def test_weights_that_were_saved_with_the_models_wrapper_fit():
    distilled = MODELS.build(distiller_config()).state_dict()
    assert list(after_load(plain(), wrapped(plain().state_dict()))) == list(plain().state_dict())
    assert list(after_load(plain(), wrapped(distilled))) == list(plain().state_dict())
    assert list(after_load(MODELS.build(distiller_config()), wrapped(distilled))) == list(distilled)


def test_a_part_of_the_model_that_is_called_module_keeps_its_name():
    model = torch.nn.Sequential()
    model.module = plain()
    assert list(after_load(model, model.state_dict())) == [f'module.{key}' for key in plain().state_dict()]


def test_weights_alone_are_not_enough_to_go_on_from():
    hook = CheckpointFitHook(needed=('state_dict', 'optimizer', 'meta'))
    with pytest.raises(ValueError, match=r'lacks optimizer, meta.*set load_from'):
        hook.after_load_checkpoint(SimpleNamespace(model=plain()), dict(state_dict=plain().state_dict()))


def test_a_training_does_not_resume_from_that_of_another_method_or_of_a_distillation():
    hook, distilled = CheckpointFitHook(needed=('state_dict',)), MODELS.build(distiller_config())
    for other in (MODELS.build(distiller_config(method='at')), plain()):
        with pytest.raises(ValueError, match=r'unexpected: (distiller\.)?pairs'):
            hook.after_load_checkpoint(SimpleNamespace(model=other), dict(state_dict=distilled.state_dict()))
    hook.after_load_checkpoint(SimpleNamespace(model=distilled), dict(state_dict=distilled.state_dict()))
