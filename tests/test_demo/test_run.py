import re
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import modified
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from voc_folder import write_voc

from ovkd_mm.checkpoints.loading import load_checkpoint_file
from ovkd_mm.compare.study import read_study
from ovkd_mm.demo import Plan, run_demo
from ovkd_mm.report.history import Run, read_history

METRIC = 'pascal_voc/mAP'
PLAN = Plan(size=64, batch_size=2, teacher_iters=3, student_iters=3, train_images=6, val_images=3)
RUNS = ('teacher', 'alone', 'distilled')


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('work') / 'demo'
    assert run_demo(folder, seed=5, plan=PLAN) == folder / 'report.html'
    return folder


def test_the_report_compares_the_three_runs_and_shows_their_detections(work_dir):
    page = (work_dir / 'report.html').read_text()
    for name in RUNS:
        assert f'</i>{name}<small>' in page
    assert page.count('data:image/jpeg;base64,') == 3 * (1 + len(RUNS))
    for title in ('task loss', 'distillation loss', METRIC):
        assert f'<figcaption>{title}</figcaption>' in page
    assert page.count('<td>18,233,738</td>') == 1
    assert page.count('<td>6,062,986</td>') == 2
    assert 'one seed (5)' in page


def test_both_students_start_from_the_same_weights_and_see_the_same_images(work_dir):
    alone, distilled = (Run(read_history(work_dir / name / 'seed5')).losses for name in RUNS[1:])
    assert alone[0] == distilled[0] == [1, 2, 3]
    # Before the first update equal weights on equal images give an equal task loss.
    assert distilled[1][0] == pytest.approx(alone[1][0], rel=1e-5)
    assert distilled[1][2] != pytest.approx(alone[1][2], rel=1e-5)
    assert distilled[2][0] > 0
    assert alone[2] == [0, 0, 0]


def test_the_teacher_of_the_distilled_one_is_the_one_trained_before(work_dir):
    config = Config.fromfile(work_dir / 'distilled/seed5.py')
    assert config.model.teacher.checkpoint == str(work_dir / 'teacher/seed5/iter_3.pth')
    assert config.model.teacher.model == str(work_dir / 'teacher/seed5.py')


def test_the_study_is_a_file_that_the_tool_for_studies_takes(work_dir):
    study = read_study(work_dir / 'demo.yml')
    assert [(entry.label, entry.method) for entry in study.entries] == [('alone', 'none'), ('distilled', None)]
    assert study.seeds == (5,)
    base, alone = Config.fromfile(study.config), Config.fromfile(work_dir / 'alone/seed5.py')
    assert base.model.student == alone.model
    assert base.train_dataloader == alone.train_dataloader


def test_each_run_ends_with_a_validation_and_one_checkpoint(work_dir):
    for name in RUNS:
        assert read_history(work_dir / name / 'seed5')[-1].keys() >= {METRIC}
        assert [file.name for file in (work_dir / name / 'seed5').glob('*.pth')] == ['iter_3.pth']


def test_a_second_call_trains_nothing_and_writes_the_same_figures(work_dir):
    trained = {name: modified(work_dir / name) for name in RUNS}
    table = re.compile(r'<tbody>.*</tbody>', re.DOTALL)
    before = table.search((work_dir / 'report.html').read_text())[0]
    run_demo(work_dir, seed=5, plan=PLAN)
    assert {name: modified(work_dir / name) for name in RUNS} == trained
    assert table.search((work_dir / 'report.html').read_text())[0] == before


def test_a_folders_name_is_printed_as_it_is_and_never_as_markup(tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr('ovkd_mm.demo.run.train_all', stop)
    monkeypatch.setenv('COLUMNS', '1000')
    folder = tmp_path / '[link=http:' / '[/x]'
    for split in ('train', 'val'):
        write_voc(folder, {split: [('cat', 5, 5, 40, 40)]}, split=split)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path / 'demo', data=folder, plan=PLAN)
    assert str(folder) in capsys.readouterr().out


def test_another_demos_work_dir_is_refused_and_left_alone(work_dir):
    before = modified(work_dir)
    with pytest.raises(ValueError, match=r'holds a study with seed=5, not with seed=6; name another with --work-dir'):
        run_demo(work_dir, seed=6, plan=PLAN)
    assert modified(work_dir) == before


def test_a_work_dir_with_other_things_in_it_is_refused(tmp_path):
    (tmp_path / 'thesis.tex').touch()
    with pytest.raises(ValueError, match='holds something else'):
        run_demo(tmp_path, plan=PLAN)
    assert [file.name for file in tmp_path.iterdir()] == ['thesis.tex']


def test_bad_data_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere is not a folder'):
        run_demo(tmp_path / 'work', data=tmp_path / 'nowhere', plan=PLAN)
    assert not (tmp_path / 'work').exists()


def test_data_of_ones_own_is_what_is_trained_and_validated_on(tmp_path, monkeypatch, capsys):
    images = {f'{i:06d}': [('cat', 5, 5, 60, 50), ('dog', 30 + i, 20, 78, 58)] for i in range(6)}
    write_voc(tmp_path / 'data', images, split='trainval')
    write_voc(tmp_path / 'data', dict(list(images.items())[:2]), split='test')
    trained = []

    def stop(trainings, *_):
        trained.extend(trainings)
        raise KeyboardInterrupt

    monkeypatch.setattr('ovkd_mm.demo.run.train_all', stop)
    monkeypatch.setenv('COLUMNS', '1000')
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path / 'work', data=tmp_path / 'data', plan=PLAN)
    told = capsys.readouterr().out
    assert 'trainval.txt' in told and 'test.txt' in told
    ((teacher, config),) = [(one.label, one.config) for one in trained]
    assert teacher == 'teacher'
    loaded = [build_dataset(loader.dataset) for loader in (config.train_dataloader, config.val_dataloader)]
    assert [len(data) for data in loaded] == [6, 2]
    assert all(data.metainfo['classes'] == ('cat', 'dog') for data in loaded)


def build_dataset(cfg):
    init_default_scope('mmdet')
    register_all_modules(init_default_scope=False)
    return DATASETS.build(cfg)


def test_the_distilled_checkpoint_is_the_students(work_dir):
    states = {name: load_checkpoint_file(work_dir / name / 'seed5/iter_3.pth')['state_dict'] for name in RUNS[1:]}
    plain = {key: value for key, value in states['distilled'].items() if not key.startswith('distiller.')}
    assert plain.keys() == states['alone'].keys()
    assert any(not torch.equal(plain[key], states['alone'][key]) for key in plain)
    assert np.isfinite([value.float().sum() for value in plain.values()]).all()
