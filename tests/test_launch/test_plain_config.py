import pytest
import torch
from mmengine.config import Config
from mmengine.registry import HOOKS, MODELS
from toy import distiller_config, toy_runner

from ovkd_mm import hooks
from ovkd_mm.checkpoints.resume import NEEDED, prepare_resume
from ovkd_mm.config_files import is_distillation
from ovkd_mm.distillers import FeatureDistiller
from ovkd_mm.hooks import DistillerHook
from ovkd_mm.launch.plain_config import forget_run, plain_config


def test_a_distillation_config_becomes_its_students():
    model = distiller_config(data_preprocessor=dict(type='ImgDataPreprocessor'))
    config = Config(dict(model=model, method={}, distiller={}, places={}, head_pairs={}, seed=1))
    plain = plain_config(config)
    assert plain.model == dict(type='ToyClassifier', data_preprocessor=dict(type='ImgDataPreprocessor'))
    assert plain.seed == 1
    assert set(plain) == {'model', 'seed'}
    assert is_distillation(config)
    assert 'method' in config


@pytest.mark.parametrize('kind', [FeatureDistiller, 'FeatureDistiller', 'ovkd_mm.distillers.FeatureDistiller'])
def test_a_distillation_may_name_its_class_in_other_ways(kind):
    config = Config(dict(model=distiller_config(type=kind)))
    assert is_distillation(config) and plain_config(config).model == dict(type='ToyClassifier')


def test_hooks_that_want_a_distiller_are_left_out_and_others_kept():
    custom = [dict(type='ovkd_mm.ConnectorWarmupHook', epochs=1), dict(type='EMAHook'), dict(type='ovkd_mm.SeedHook')]
    config = Config(dict(model=distiller_config(), custom_hooks=custom))
    assert [hook.type for hook in plain_config(config).custom_hooks] == ['EMAHook', 'ovkd_mm.SeedHook']


def test_every_hook_that_is_left_out_wants_a_distiller(tmp_path):
    names = [name for name in hooks.__all__ if issubclass(getattr(hooks, name), DistillerHook)]
    names.remove('DistillerHook')
    assert len(names) == 6
    for name in names:
        stage = name in ('ConnectorWarmupHook', 'InitializationHook', 'ParaphraserHook')
        hook = HOOKS.build(dict(type=f'ovkd_mm.{name}', **(dict(iters=1) if stage else {})))
        hook.interval = 1
        with pytest.raises(TypeError, match=f'{name} needs a FeatureDistiller'):
            toy_runner(tmp_path, model=dict(type='ToyClassifier'), custom_hooks=[hook]).train()


def test_a_plain_config_stays_as_it_is():
    config = Config(dict(model=dict(type='ToyClassifier'), optim_wrapper=dict(x=1)))
    assert plain_config(config).to_dict() == config.to_dict()
    assert type(MODELS.build(plain_config(config).model)).__name__ == 'ToyClassifier'


@pytest.mark.parametrize('model', [distiller_config(), dict(type='ToyClassifier')], ids=['distilled', 'plain'])
def test_nothing_is_left_of_a_training_that_went_on(model, tmp_path):
    hooks = [dict(type='EMAHook'), dict(type='ovkd_mm.CheckpointFitHook')]
    recipe = dict(custom_hooks=hooks, default_hooks=dict(), randomness=dict(deterministic=True, seed=None))
    run = dict(work_dir=str(tmp_path), launcher='none', load_from=None, resume=False, experiment_name='first try')
    config = Config(dict(model=model, **recipe, **run))
    torch.save({key: {} for key in NEEDED} | dict(meta=dict(seed=7)), tmp_path / 'epoch_1.pth')
    prepare_resume(config)
    assert config.resume and config.randomness.seed == 7 and len(config.custom_hooks) == 3

    before = config.to_dict()
    assert forget_run(plain_config(config)).to_dict() == dict(model=dict(type='ToyClassifier'), **recipe)
    assert config.to_dict() == before


def test_the_student_alone_starts_from_the_weights_that_its_config_names():
    config = Config(dict(model=distiller_config(), load_from='pretrained.pth', randomness=dict(seed=7)))
    assert plain_config(config).load_from == 'pretrained.pth'
    assert plain_config(config).randomness.seed == 7


def test_a_seed_that_a_training_drew_leaves_no_trace():
    assert forget_run(Config(dict(seeded=1, randomness=dict(seed=7)))).to_dict() == dict(seeded=1)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(studnt=dict(depth=28)), r"model.studnt: a distillation has no setting 'studnt'; nearest: student"),
        (dict(backbone=dict(depth=28)), r"model.backbone: .* the student's own is model.student.backbone"),
        (dict(student=None), r"model.student must be the student's config, a dict; got None"),
    ],
)
def test_settings_that_would_be_thrown_away_with_the_teacher_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        plain_config(Config(dict(model=distiller_config(**changes))))


def test_a_students_own_preprocessor_stays_beside_the_distillations():
    own = dict(type='ImgDataPreprocessor', pad_value=7)
    student = dict(type='ToyClassifier', data_preprocessor=own)
    model = distiller_config(student=student, data_preprocessor=dict(type='ImgDataPreprocessor'))
    assert plain_config(Config(dict(model=model))).model.data_preprocessor == own
