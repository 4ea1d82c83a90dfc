import pytest
import torch
from mmengine.registry import MODELS
from toy import distiller_config, toy_runner

from ovkd_mm.hooks import InitialWeightsHook


def train(work_dir, state, model=None):
    torch.save(state, work_dir / 'weights.pth')
    runner = toy_runner(work_dir, model, iters=1, load_from=str(work_dir / 'weights.pth'))
    runner.register_hook(InitialWeightsHook())
    runner.train()
    return runner


def weights(**changes):
    return MODELS.build(dict(type='ToyClassifier') | changes).state_dict()


@pytest.mark.parametrize('model', [dict(type='ToyClassifier'), None], ids=['plain', 'distilled'])
def test_weights_of_which_none_fits_are_refused_with_some_names_of_both(tmp_path, model):
    others = {f'net.{key}': value for key, value in weights().items()}
    for state in (others, dict(state_dict=others), dict(epoch=3)):
        with pytest.raises(ValueError, match=r"weights\.pth': none of its weights .* the model backbone\.stem\.weight"):
            train(tmp_path, state, model)


@pytest.mark.parametrize('model', [dict(type='ToyClassifier'), None], ids=['plain', 'distilled'])
def test_some_that_fit_are_enough(tmp_path, model):
    state = weights(width=5) | dict(list(weights().items())[:1])
    for around in ('', 'module.'):
        train(tmp_path, dict(state_dict={f'{around}{key}': value for key, value in state.items()}), model)


def test_a_distillations_checkpoint_may_begin_another(tmp_path):
    train(tmp_path, dict(state_dict=MODELS.build(distiller_config(method='at')).state_dict()))
