from pathlib import Path

import pytest
import torch
import toy
from command_line import ROOT
from mmengine.config import Config

from ovkd_mm.method_files import read_method
from ovkd_mm.report.positions import Options, show_positions

METHODS = ROOT / 'configs' / '_base_' / 'methods'


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Config(dict(model=dict(type='ToyClassifier'))).dump('student.py')
    Config(dict(model=dict(type='ToyClassifier', width=6))).dump('teacher.py')
    Config(dict(model=toy.distiller_config())).dump('distilled.py')
    return tmp_path


@pytest.fixture
def shown(home, capsys):
    def show(config, teacher=None, **options):
        show_positions(Options(config, teacher, **{'input_shape': (16, 24), **options}))
        return capsys.readouterr().out

    return show


def test_a_config_alone_shows_its_places_and_asks_for_weights(shown):
    text = shown('student.py')
    assert text.startswith('input 16x24 (--input-shape)\nmethod ofd\nstudent.py: ')
    assert 'input of .1.relu, call 1' in text
    assert 'margins need weights: --checkpoint FILE' in text
    assert 'pairs\n' not in text
    assert 'backbone.layer1.0 ' not in text
    assert 'more places: --all' in text
    more = shown('student.py', every=True)
    assert 'backbone.layer1.0 ' in more
    assert '--all' not in more


def test_the_places_are_those_of_the_method(shown):
    text = shown('student.py', method='at')
    assert 'output of .1.relu, call 1' in text
    assert 'margins' not in text


def test_weights_are_shown_as_margins(shown):
    torch.save(dict(state_dict=toy.ToyClassifier().state_dict()), 'student.pth')
    text = shown('student.py', checkpoint='student.pth')
    assert '-0.80 to -0.80' in text
    assert 'margins need weights' not in text


def test_student_and_teacher_are_shown_with_their_pairs(shown):
    text = shown('student.py', 'teacher.py')
    assert 'student student.py' in text
    assert 'teacher teacher.py' in text
    pairs = text.partition('\npairs')[2]
    assert pairs.count('backbone.layer1') == 2
    assert 'Conv1x1 4 to 6' in pairs
    assert 'Conv1x1 8 to 12' in pairs


def test_a_distillation_shows_its_own_method_and_pairs(shown):
    text = shown('distilled.py')
    assert 'method of the config' in text
    assert 'backbone.layer2' in text.partition('\npairs')[2]
    assert 'method fitnets' in shown('distilled.py', method='fitnets')


@pytest.mark.parametrize(('name', 'written'), [('8xb16_cifar10', 'rgb'), ('8xb32_in1k', None)])
def test_the_order_in_which_images_are_loaded_is_written_where_the_preprocessor_does_not_tell(shown, name, written):
    networks = [f'mmpretrain::resnet/resnet{depth}_{name}.py' for depth in (18, 34)]
    shown(*networks, input_shape=(32, 32), write=Path('new.py'))
    model = Config.fromfile('new.py').model
    assert model.get('channel_order') == written


def test_the_class_scores_of_both_models_are_shown_and_written_for_a_method_that_compares_them(shown):
    networks = [f'mmpretrain::resnet/resnet{depth}_8xb16_cifar10.py' for depth in (18, 34)]
    text = shown(*networks, input_shape=(32, 32), method='kd', write=Path('new.py'), svg=Path())
    assert 'head.fc' in text.partition('\npairs')[2]
    model = Config.fromfile('new.py').model
    assert model.logits == [dict(student='head.fc', teacher='head.fc')]
    assert 'pairs' not in model
    assert 'head.fc' in Path('new.svg').read_text()
    with pytest.raises(
        ValueError, match=r'10 class scores of the student \(head.fc\) and 1000 of the teacher \(head.fc\)'
    ):
        shown(networks[0], 'mmpretrain::resnet/resnet34_8xb32_in1k.py', input_shape=(32, 32), method='kd')


def test_a_config_and_a_picture_are_written_and_named(shown):
    text = shown('student.py', 'teacher.py', method='at', write=Path('new.py'), svg=Path())
    assert 'python tools/train.py new.py --cfg-options model.teacher.checkpoint=TEACHER.pth' in text
    assert 'new.svg is drawn' in text
    written = Config.fromfile('new.py').model
    assert [pair.student for pair in written.pairs] == ['backbone.layer1', 'backbone.layer2']
    assert written.input_shape == (16, 24)
    assert 'identity' not in Path('new.svg').read_text()
    assert Path('new.svg').read_text().count('AttentionMap') == 2


@pytest.mark.parametrize('method', [path.stem for path in METHODS.glob('*.py')])
def test_the_pairs_of_every_method_are_shown(shown, method):
    pairs = shown('student.py', 'teacher.py', method=method).partition('\npairs')[2]
    count = 1 if read_method(method)['position']['type'] == 'ovkd_mm.Logits' else 2
    assert len([line for line in pairs.splitlines() if 'backbone.layer' in line or ' fc ' in line]) == count


def test_where_both_networks_read_stands_once_in_a_picture(shown):
    shown('distilled.py', svg=Path('own.svg'))
    text = Path('own.svg').read_text()
    assert (text.count('backbone.layer1<'), text.count('backbone.layer2<')) == (2, 2)


def test_nothing_is_written_over(shown):
    for name in ('old.py', 'old.svg', 'new.svg'):
        Path(name).write_text('mine')
    with pytest.raises(ValueError, match='not overwritten; choose another --write'):
        shown('student.py', 'teacher.py', write=Path('old.py'))
    with pytest.raises(ValueError, match='not overwritten; choose another --svg'):
        shown('student.py', 'teacher.py', write=Path('new.py'), svg=Path())
    assert not Path('new.py').exists()
    assert Path('old.py').read_text() == Path('old.svg').read_text() == 'mine'


def test_a_backbone_that_stops_early_is_told(shown, monkeypatch):
    def fail(self, x):
        self.layer1(self.stem(x))
        raise RuntimeError('half-way')

    monkeypatch.setattr('toy.Backbone.forward', fail)
    assert "The backbone stopped early, what would come later is not seen: RuntimeError('half-way')" in shown(
        'student.py'
    )


def test_a_distillation_without_a_method_is_shown_with_one_that_is_named(shown):
    model = toy.distiller_config()
    del model['method']
    Config(dict(model=model)).dump('lacking.py')
    with pytest.raises(ValueError, match=r"'lacking.py' is a distillation without model.method; name one: --method"):
        shown('lacking.py')
    assert 'method at' in shown('lacking.py', method='at')
