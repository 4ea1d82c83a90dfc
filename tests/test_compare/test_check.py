import json
import sys

import pytest
from compared_toys import write_base
from mmengine.config import Config
from toy import distiller_config

from ovkd_mm.compare.check import build, main


def test_a_hook_is_built_without_its_priority_which_is_the_runners():
    hook = dict(type='ovkd_mm.DistillScheduleHook', schedule='linear', priority='VERY_LOW')
    config = Config(dict(model=distiller_config(), custom_hooks=[hook]))
    build(config)
    assert config.custom_hooks[0].priority == 'VERY_LOW'


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(studnet=dict(type='ToyClassifier')), "FeatureDistiller has no setting 'studnet'; nearest: student"),
        (
            dict(teacher=dict(model=dict(type='ToyClassifier'), checkpoint='http://127.0.0.1:9/x.pth')),
            'model.teacher.checkpoint=http://127.0.0.1:9/x.pth cannot be downloaded',
        ),
    ],
)
def test_a_mistake_is_answered_as_a_training_answers_it(tmp_path, monkeypatch, changes, message):
    Config(dict(model=distiller_config(**changes))).dump(tmp_path / 'typo.py')
    monkeypatch.setattr(sys, 'argv', [])
    main(str(tmp_path / 'found.json'), '', str(tmp_path / 'typo.py'))
    assert message in json.loads((tmp_path / 'found.json').read_text())['errors'][str(tmp_path / 'typo.py')]


@pytest.mark.parametrize(('hook', 'told'), [('acuracy', True), ('accuracy', False), ('auto', False)])
def test_a_metric_that_save_best_names_is_looked_for(tmp_path, monkeypatch, hook, told):
    write_base(tmp_path / 'base.py', monkeypatch)
    config = Config.fromfile(tmp_path / 'base.py')
    config.model = config.model.student
    config.default_hooks.checkpoint.save_best = hook
    config.dump(tmp_path / 'typo.py')
    main(str(tmp_path / 'found.json'), '', str(tmp_path / 'typo.py'))
    found = json.loads((tmp_path / 'found.json').read_text())
    assert found['doubts'] == {}
    assert ("metric='acuracy': the validation has no such metric; nearest: accuracy" in str(found['errors'])) is told


@pytest.mark.parametrize('key', ['val_dataloader', 'val_evaluator'])
def test_a_training_without_validation_has_nothing_to_compare(tmp_path, monkeypatch, key):
    write_base(tmp_path / 'base.py', monkeypatch)
    config = Config.fromfile(tmp_path / 'base.py')
    config[key] = None
    config.dump(tmp_path / 'without.py')
    main(str(tmp_path / 'found.json'), '', str(tmp_path / 'without.py'))
    found = json.loads((tmp_path / 'found.json').read_text())
    assert list(found['errors'].values()) == [f'it has no validation ({key}), and a metric of it is what is compared']
