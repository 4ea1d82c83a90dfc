from pathlib import Path

import pytest
from command_line import ROOT
from mmengine.config import Config

from ovkd_mm.launch.write_distillation import check_free, distillation_text, write_distillation

NAME = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'


def pairs(count):
    pairs = [dict(student=f'backbone.layer{i}', teacher=f'backbone.stage{i}.block') for i in range(1, count + 1)]
    return dict(pairs=pairs)


def test_a_config_of_names_is_read_as_a_distillation(tmp_path):
    write_distillation(
        tmp_path / 'new.py', NAME, 'mmpretrain::resnet/resnet50_8xb16_cifar10.py', 'at', pairs(2), (32, 48)
    )
    config = Config.fromfile(tmp_path / 'new.py')
    assert config.model.type == 'ovkd_mm.FeatureDistiller'
    assert config.model.student.backbone.depth == 18
    assert config.model.teacher == dict(model='mmpretrain::resnet/resnet50_8xb16_cifar10.py', checkpoint=None)
    assert config.model.method == Config.fromfile(ROOT / 'configs/_base_/methods/at.py').method
    assert config.model.pairs == pairs(2)['pairs']
    assert 'logits' not in config.model
    assert config.model.input_shape == (32, 48)
    assert config.data_preprocessor.num_classes == 10


def test_paths_are_relative_to_the_config_wherever_it_is_read_from(tmp_path, monkeypatch):
    for name in ('student', 'teacher'):
        (tmp_path / 'models').mkdir(exist_ok=True)
        Config(dict(model=dict(type=name))).dump(tmp_path / 'models' / f'{name}.py')
    (tmp_path / 'distilled').mkdir()
    monkeypatch.chdir(tmp_path / 'models')
    write_distillation(Path('../distilled/new.py'), 'student.py', 'teacher.py', 'ofd', pairs(1), (8, 8), 'teacher.pth')
    assert str(tmp_path) not in (tmp_path / 'distilled/new.py').read_text()
    monkeypatch.chdir('/')
    config = Config.fromfile(tmp_path / 'distilled/new.py')
    assert config.model.student.type == 'student'
    assert Config.fromfile(config.model.teacher.model).model.type == 'teacher'
    assert config.model.teacher.checkpoint == 'teacher.pth'


def test_weights_that_are_there_are_found_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / 'new').mkdir()
    (tmp_path / 'own.pth').touch()
    monkeypatch.chdir(tmp_path)
    write_distillation(Path('new/one.py'), NAME, 'timm::resnet50', 'ofd', pairs(1), (32, 32), 'own.pth')
    monkeypatch.chdir('/')
    checkpoint = Config.fromfile(tmp_path / 'new' / 'one.py').model.teacher.checkpoint
    assert Path(checkpoint).samefile(tmp_path / 'own.pth')


def test_a_teacher_of_another_library_needs_no_checkpoint_and_its_folder_is_relative_too(tmp_path, monkeypatch):
    (tmp_path / 'weights').mkdir()
    monkeypatch.chdir(tmp_path)
    names = {
        'timm::resnet50.a1_in1k': 'timm::resnet50.a1_in1k',
        'transformers::weights': f'transformers::{tmp_path}/weights',
        'transformers::facebook/dinov2-small': 'transformers::facebook/dinov2-small',
    }
    for index, (name, expected) in enumerate(names.items()):
        write_distillation(Path(f'{index}.py'), NAME, name, 'ofd', pairs(1), (32, 32))
        assert Config.fromfile(f'{index}.py').model.teacher == dict(model=expected)
    write_distillation(Path('trained.py'), NAME, 'timm::resnet50', 'ofd', pairs(1), (32, 32), 'own.pth')
    assert Config.fromfile('trained.py').model.teacher == dict(model='timm::resnet50', checkpoint='own.pth')


@pytest.mark.parametrize('count', [1, 4, 6])
def test_it_has_at_most_15_lines_of_at_most_120_characters(count):
    lines = distillation_text(NAME, NAME, 'ofd', pairs(count), (32, 32), None).splitlines()
    assert len(lines) <= 15
    assert max(map(len, lines)) <= 120
    assert sum(line.count("dict(student='") for line in lines) == count


def test_the_order_of_the_channels_is_written_where_it_is_given(tmp_path):
    write_distillation(tmp_path / 'new.py', NAME, NAME, 'ofd', pairs(1), (32, 32), channel_order='rgb')
    assert Config.fromfile(tmp_path / 'new.py').model.channel_order == 'rgb'


def test_a_file_that_is_there_or_misnamed_is_refused(tmp_path):
    (tmp_path / 'old.py').touch()
    for name, message in {
        'old.py': r"old.py' exists and is not overwritten; choose another --write",
        'new.txt': r'--write must end with \.py',
        'away/new.py': "there is no folder '.*away'",
    }.items():
        with pytest.raises(ValueError, match=message):
            check_free(tmp_path / name, '.py', '--write')
    check_free(tmp_path / 'new.py', '.py', '--write')


def test_class_scores_are_written_in_place_of_pairs(tmp_path):
    scores = [dict(student='head.fc', teacher='fc', resize=True)]
    write_distillation(tmp_path / 'new.py', NAME, NAME, 'kd', dict(logits=scores), (32, 32))
    model = Config.fromfile(tmp_path / 'new.py').model
    assert model.logits == scores
    assert 'pairs' not in model


def test_a_student_of_the_style_of_read_base_is_refused_with_the_command_that_makes_it_plain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('base.py').write_text("model = dict(type='ToyClassifier', width=8)")
    Path('lazy.py').write_text(
        'from mmengine.config import read_base\nwith read_base():\n    from .base import *\nmodel.update(width=12)'
    )
    with pytest.raises(ValueError, match='style of read_base') as refused:
        write_distillation(Path('new.py'), 'lazy.py', NAME, 'ofd', pairs(1), (32, 32))
    assert not Path('new.py').exists()
    command = str(refused.value).partition('python -c "')[2].removesuffix('"')
    exec(command)
    write_distillation(Path('new.py'), 'plain_lazy.py', NAME, 'ofd', pairs(1), (32, 32))
    assert Config.fromfile('new.py').model.student.width == 12
