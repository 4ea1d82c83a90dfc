"""The order of a study, with trainings that only pretend; tests/test_tools/test_compare.py has real ones."""

import contextlib
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from toy import distiller_config

from ovkd_mm.compare import Entry, Study, run
from ovkd_mm.compare.claim import claimed
from ovkd_mm.compare.run import run_study, taught_by
from ovkd_mm.compare.study import StudyTeacher
from ovkd_mm.compare.training import Training

FACTS = dict(environment=dict(commit='abc', versions='torch 2', device='CPU'), parameters=7)
BOTH = (Entry('none', 'none'), Entry('kd', 'kd'))


@pytest.fixture
def teacher(tmp_path):
    path = tmp_path / 'teacher.pth'
    path.write_bytes(b'weights')
    return path


@pytest.fixture
def study(tmp_path, teacher, monkeypatch):
    """Run a study whose trainings log ``values``, or fail where there are none; returns its rows and what was run."""
    model = distiller_config(logits=[dict(student='fc', teacher='fc')])
    model['teacher']['checkpoint'] = str(teacher)
    by_iteration = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False))
    Config(dict(model=model, default_hooks=by_iteration)).dump(tmp_path / 'base.py')
    monkeypatch.setattr(run, 'check_trainings', lambda waiting, *_: {training.label: FACTS for training in waiting})

    def study(values=lambda training: dict(accuracy=50.0), entries=BOTH, seeds=(0, 1), teacher=None, **places):
        begun = []

        def train(self, tool, facts, metric, progress, lock):
            begun.append(self.name)
            progress('half of it')
            logged = values(self)
            folder = self.folder / '20250101_000000/vis_data'
            folder.mkdir(parents=True, exist_ok=True)
            if self.label == 'teacher' and logged is not None:
                self.config.dump(self.file)
                (self.folder / 'iter_10.pth').write_bytes(b'taught')
                (self.folder / 'last_checkpoint').write_text(f'{self.folder}/iter_10.pth')
            lines = [dict(step=10, loss=1.0, time=0.5), dict(step=10, time=9.0, **(logged or {}))]
            (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
            how = dict(state='finished', reason=None) if logged is not None else dict(state='failed', reason='no luck')
            self._write(recipe=self.recipe, minutes=1.0, peak_rss_mib=300, **how, **facts)

        monkeypatch.setattr(Training, 'run', train)
        rows = run_study(
            Study(tmp_path / places.get('config', 'base.py'), entries, seeds, teacher=teacher),
            tmp_path / places.get('work_dir', 'work'),
            places.get('whole'),
        )
        return rows, begun

    return study


def test_runs_go_seed_by_seed_and_one_that_fails_stops_no_other(study, capsys):
    rows, begun = study(lambda training: None if training.name == 'kd, seed 0' else dict(accuracy=50.0))
    assert begun == ['none, seed 0', 'kd, seed 0', 'none, seed 1', 'kd, seed 1']
    assert [[result.finished for result in row.results] for row in rows] == [[True, True], [False, True]]
    said = capsys.readouterr().out
    assert '[1/4] none, seed 0: accuracy 50 in 1.0 min' in said
    assert '[2/4] kd, seed 0: failed: no luck (all of it in ' in said


def test_the_next_call_runs_what_is_not_finished_alone(study, capsys):
    study(lambda training: None if training.label == 'kd' else dict(accuracy=50.0))
    capsys.readouterr()
    rows, begun = study()
    assert begun == ['kd, seed 0', 'kd, seed 1']
    assert all(result.finished for row in rows for result in row.results)
    assert '4 runs, 2 finished before' in capsys.readouterr().out
    assert study()[1] == []


def test_the_table_is_written_after_each_run(study, tmp_path):
    def values(training):
        if training.name == 'kd, seed 0':
            table = (tmp_path / 'work/table.md').read_text()
            assert '| none | 40.00 |' in table
            assert '| kd | - |' in table
        return dict(accuracy=40.0)

    assert len(study(values, seeds=(0,))[1]) == 2
    assert '| kd | 40.00 |' in (tmp_path / 'work/table.md').read_text()


def test_other_weights_in_the_teachers_file_are_noticed_before_anything_is_trained(study, teacher):
    study(seeds=(0,))
    teacher.write_bytes(b'others')
    with pytest.raises(
        ValueError, match=r"kd/seed0 holds a run of .* the content of the teacher's checkpoint or config; delete"
    ):
        study()


def test_the_tables_of_a_slice_tell_what_else_the_work_dir_holds(study, tmp_path, capsys):
    extra = Entry('at', 'at')
    whole = Study(tmp_path / 'base.py', (*BOTH, extra), (0, 1, 2))
    study()
    table = tmp_path / 'work/table.md'
    rows, begun = study(entries=(extra,), seeds=(2,), whole=whole)
    assert begun == ['at, seed 2'] and [row.entry.label for row in rows] == ['at']
    lines = [line.split(' | ') for line in table.read_text().splitlines() if line.startswith('| ')][2:]
    assert [(line[0], line[1]) for line in lines] == [
        ('| none', '50.00 ± 0.00'),
        ('| kd', '50.00 ± 0.00'),
        ('| at', '50.00'),
    ]
    rows, begun = study(entries=BOTH, seeds=(0,), whole=whole)
    assert begun == [] and [len(row.results) for row in rows] == [1, 1]
    assert len([line for line in table.read_text().splitlines() if line.startswith('| ')]) == 5

    (tmp_path / 'teacher.pth').write_bytes(b'others')
    capsys.readouterr()
    study(entries=(Entry('new', 'kd'),), seeds=(0,), whole=replace(whole, entries=(*BOTH, Entry('new', 'kd'))))
    assert 'kd, seed 0 is left out of the tables' in ' '.join(capsys.readouterr().out.split())
    assert '| kd |' not in table.read_text() and '| none |' in table.read_text()


def test_a_second_call_in_the_same_folder_is_refused_while_the_first_is_at_work(study):
    def values(training):
        with pytest.raises(ValueError, match='is at work here; wait for it, end it, or name another --work-dir'):
            study()
        return dict(accuracy=50.0)

    assert study(values, entries=BOTH[:1], seeds=(0,))[1] == ['none, seed 0']
    study()  # and let go afterwards


def test_a_run_whose_validation_has_no_metric_is_finished_all_the_same(study, capsys):
    rows, _ = study(lambda training: {}, entries=BOTH[:1], seeds=(0,))
    assert not rows[0].results[0].finished
    assert 'none, seed 0: finished without a validation metric in 1.0 min' in capsys.readouterr().out


@pytest.fixture
def own_teacher(tmp_path):
    by_iteration = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False))
    Config(dict(model=dict(type='ToyClassifier', width=6), default_hooks=by_iteration)).dump(tmp_path / 'big.py')
    return StudyTeacher(tmp_path / 'big.py', {'model.width': 8}, seed=4)


def test_the_studys_teacher_is_trained_once_and_teaches_all(study, own_teacher, tmp_path):
    seen = {}

    def values(training):
        seen[training.name] = training.config
        return dict(accuracy=90.0 if training.label == 'teacher' else 50.0)

    rows, begun = study(values, teacher=own_teacher)
    assert begun == ['teacher, seed 4', 'none, seed 0', 'kd, seed 0', 'none, seed 1', 'kd, seed 1']
    assert [row.entry.label for row in rows] == ['teacher', 'none', 'kd']
    assert seen['teacher, seed 4'].model.width == 8
    folder = tmp_path / 'work' / 'teacher'
    for name in ('kd, seed 0', 'kd, seed 1'):
        assert seen[name].model.teacher.model == str(folder / 'seed4.py')
        assert seen[name].model.teacher.checkpoint == str(folder / 'seed4' / 'iter_10.pth')
    assert '| teacher | 90.00 |' in (tmp_path / 'work/table.md').read_text()
    assert study(values, teacher=own_teacher)[1] == []


def test_a_study_goes_on_after_it_was_moved_with_its_teacher(study, own_teacher, tmp_path):
    study(lambda training: None if training.label == 'kd' else dict(accuracy=90.0), teacher=own_teacher, seeds=(0,))
    (tmp_path / 'work').rename(tmp_path / 'moved')
    (tmp_path / 'later').mkdir()
    for name in ('base.py', 'big.py'):
        (tmp_path / name).rename(tmp_path / 'later' / name)
    seen = []
    teacher = StudyTeacher(tmp_path / 'later/big.py', own_teacher.options, own_teacher.seed)
    begun = study(seen.append, teacher=teacher, seeds=(0,), config='later/base.py', work_dir='moved')[1]
    assert begun == ['kd, seed 0']
    assert seen[0].config.model.teacher.checkpoint == str(tmp_path / 'moved/teacher/seed4/iter_10.pth')


def test_what_another_call_did_until_the_folder_was_claimed_is_seen(study, monkeypatch):
    @contextlib.contextmanager
    def late(*args):
        monkeypatch.setattr(run, 'claimed', claimed)
        others = study()[1]
        assert len(others) == 4
        with claimed(*args) as lock:
            yield lock

    monkeypatch.setattr(run, 'claimed', late)
    assert study()[1] == []


def test_without_its_teacher_a_study_stops(study, own_teacher):
    with pytest.raises(ValueError, match=r'teacher, seed 4 failed: no luck \(all of it in'):
        study(lambda training: None, teacher=own_teacher)


def test_a_mistake_of_the_students_is_said_before_the_teacher_is_trained(study, own_teacher):
    with pytest.raises(ValueError, match="unknown method 'kdd'"):
        study(lambda training: pytest.fail('trained'), entries=(Entry('kdd', 'kdd'),), teacher=own_teacher)


def test_students_that_cannot_be_built_are_told_before_the_teacher_is_trained(study, own_teacher, monkeypatch):
    def check(waiting, *_):
        kinds = {training.label: training.config.model for training in waiting}
        assert kinds['kd'].teacher.allow_random and kinds['kd'].teacher.checkpoint is None
        assert Config.fromfile(kinds['kd'].teacher.model).model.width == 8
        raise ValueError('kd: place does not exist')

    monkeypatch.setattr(run, 'check_trainings', check)
    with pytest.raises(ValueError, match='kd: place does not exist'):
        study(lambda training: pytest.fail('trained'), teacher=own_teacher)


def test_a_mistake_in_the_teachers_settings_is_named(study, own_teacher):
    with pytest.raises(ValueError, match=r'teacher: modl\.width'):
        study(teacher=StudyTeacher(own_teacher.config, {'modl.width': 8}))


def test_a_setting_goes_before_what_was_trained(tmp_path):
    teacher = SimpleNamespace(check_finished=lambda: None, checkpoint='iter_10.pth', file=tmp_path / 'teacher.py')
    study = Study(tmp_path / 'base.py', (Entry('kd', 'kd'),), options={'model.teacher.model': 'mine.py'})
    taught = {'model.teacher.model': 'mine.py', 'model.teacher.checkpoint': 'iter_10.pth'}
    assert taught_by(study, teacher).options == taught
