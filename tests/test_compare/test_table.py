import json
from dataclasses import replace

import pytest
from compared_run import logged_run
from mmengine.config import Config

from ovkd_mm.compare import Entry, Study
from ovkd_mm.compare.results import Metric, Result, Row
from ovkd_mm.compare.table import write_tables
from ovkd_mm.compare.training import Training

ENTRIES = (Entry('none', 'none'), Entry('soft | kd', 'kd', {'model.method.loss.temperature': 8}), Entry('at', 'at'))


@pytest.fixture
def rows(tmp_path) -> list[Row]:
    trainings = [
        logged_run(tmp_path, 'none', 0, [50.0, 60.0]),
        logged_run(tmp_path, 'none', 1, [58.0, 63.0]),
        logged_run(tmp_path, 'none', 2, [70.0, 66.0]),
        logged_run(tmp_path, 'soft | kd', 0, [61.0, 71.0], logged=dict(memory=900)),
        logged_run(tmp_path, 'soft | kd', 1, [62.0], reason='KeyError: <lr>'),
        logged_run(tmp_path, 'soft | kd', 2, [62.0, 73.0], logged=dict(memory=1000)),
        *(logged_run(tmp_path, 'at', seed, [], reason='ended by SIGKILL') for seed in (0, 1)),
        Training('at', 2, Config(dict(a=1)), tmp_path / 'at/seed2'),
    ]
    return [
        Row(entry, [Result(one, Metric('mIoU')) for one in trainings if one.label == entry.label]) for entry in ENTRIES
    ]


@pytest.fixture
def study(tmp_path) -> Study:
    return Study(tmp_path / 'base.py', ENTRIES, (0, 1, 2), dict(lr=0.1))


def test_the_table_has_mean_and_sample_deviation_over_the_seeds_that_are_finished(rows, study, tmp_path):
    text = write_tables(tmp_path, study, rows)
    assert (tmp_path / 'table.md').read_text() == f'{text}\n'
    table = [line for line in text.splitlines() if line.startswith('|')]
    assert table[0] == '| method | mIoU | best | s/iteration | peak memory | parameters | seeds |'
    # By hand: 60, 63, 66 have the mean 63 and the sample deviation 3; 60, 63, 70: 64.33 and sqrt(79 / 3) = 5.13.
    assert table[2] == '| none | 63.00 ± 3.00 | 64.33 ± 5.13 | 0.375 ± 0.000 | 702 MiB RSS | 1,234,567 | 3 |'
    assert table[3] == (
        r'| soft \| kd | 72.00 ± 1.41 | 72.00 ± 1.41 | 0.375 ± 0.000 | 1000 MiB GPU | 1,234,567 '
        '| 2 of 3; seed 1 failed: KeyError: <lr> |'
    )
    assert table[4] == (
        '| at | - | - | - | - | - | 0 of 3; seed 0 failed: ended by SIGKILL; seed 1 failed: ended by SIGKILL; '
        'seed 2 not run |'
    )


def test_the_figure_of_each_seed_is_told(rows, study, tmp_path):
    text = write_tables(tmp_path, study, rows)
    assert '- mIoU of seeds 0, 1, 2: none 60.00, 63.00, 66.00; soft | kd 71.00, -, 73.00.' in text
    assert 'none 60.00, 63.00, 66.00' in (tmp_path / 'report.html').read_text()


def test_published_figures_stand_beside_ours(rows, study, tmp_path):
    text = write_tables(tmp_path, replace(study, published={'none': '61.0'}), rows)
    table = [line for line in text.splitlines() if line.startswith('|')]
    assert [line.split(' | ')[-1] for line in table] == ['published |', '--- |', '61.0 |', '- |', '- |']
    assert 'published' in (tmp_path / 'report.html').read_text()


def test_the_notes_say_seeds_config_settings_and_place(rows, study, tmp_path):
    text = write_tables(tmp_path, study, rows)
    assert 'sample standard deviation over 3 seeds (0, 1, 2)' in text
    assert f'Base config {tmp_path / "base.py"} with lr=0.1.' in text
    assert '- soft | kd: method kd, model.method.loss.temperature=8.' in text
    assert '- none:' not in text
    assert '- CPU; torch 2; commit abc.' in text


def test_one_seed_has_no_deviation_and_the_table_says_what_that_means(tmp_path):
    one = logged_run(tmp_path, 'at', 5, [0.25, 0.5])
    study = Study(tmp_path / 'base.py', (Entry('at', 'at'),), (5,))
    text = write_tables(tmp_path, study, [Row(Entry('at', 'at'), [Result(one, Metric('mIoU'))])])
    assert '| at | 0.5000 | 0.5000 | 0.375 | 705 MiB RSS | 1,234,567 | 1 |' in text
    assert 'One seed (5), so nothing is known' in text
    assert 'as it is.' in text
    assert 'of seeds' not in text


def test_runs_of_several_places_are_told_apart(tmp_path):
    gpu = dict(commit='def', versions='torch 3', device='H200')
    results = [
        Result(logged_run(tmp_path, 'at', 0, [1.0]), Metric('mIoU')),
        Result(logged_run(tmp_path, 'at', 1, [1.0], environment=gpu), Metric('mIoU')),
    ]
    text = write_tables(
        tmp_path, Study(tmp_path / 'b.py', (Entry('at', 'at'),), (0, 1)), [Row(Entry('at', 'at'), results)]
    )
    assert '- at, seed 0: CPU; torch 2; commit abc.' in text
    assert '- at, seed 1: H200; torch 3; commit def.' in text


def test_the_json_has_every_run_and_its_curve(rows, study, tmp_path):
    write_tables(tmp_path, study, rows)
    found = json.loads((tmp_path / 'results.json').read_text())
    assert found['metric'] == 'mIoU'
    assert found['cfg_options'] == dict(lr=0.1)
    none, kd, at = found['methods']
    assert none['final'] == dict(mean=63.0, std=3.0)
    assert none['runs'][2]['curve'] == [[10, 70.0], [20, 66.0]]
    assert none['runs'][2]['best'] == 70.0
    assert (kd['seeds'], kd['cfg_options']) == (2, {'model.method.loss.temperature': 8})
    assert kd['runs'][1]['reason'] == 'KeyError: <lr>'
    assert at['final'] == dict(mean=None, std=None)
    assert [run['state'] for run in at['runs']] == ['failed', 'failed', 'not run']


def test_a_curve_is_the_mean_where_all_seeds_were_validated(rows, tmp_path):
    assert rows[0].curve('curve') == ([10, 20], [pytest.approx(178 / 3), 63.0])
    assert rows[1].curve('curve') == ([10, 20], [61.5, 72.0])
    assert rows[2].curve('curve') == ([], [])
    longer = logged_run(tmp_path / 'longer', 'none', 3, [10.0, 12.0, 14.0])
    row = Row(ENTRIES[0], [rows[0].results[0], Result(longer, Metric('mIoU'))])
    assert row.curve('curve') == ([10, 20], [30.0, 36.0])


def test_the_report_shows_rows_bars_and_curves(rows, study, tmp_path):
    write_tables(tmp_path, study, rows)
    page = (tmp_path / 'report.html').read_text()
    assert page.count('<svg') == 4
    assert 'task loss, mean over seeds' in page
    assert 'distillation loss' not in page
    assert 'soft | kd<small>method kd, model.method.loss.temperature=8</small>' in page
    assert '<td>63.00 ± 3.00</td>' in page
    assert 'KeyError: &lt;lr&gt;' in page
    assert 'mIoU, mean over seeds' in page


def test_the_report_shows_the_losses_apart_where_something_is_distilled(tmp_path):
    one = Result(logged_run(tmp_path, 'at', 0, [1.0, 2.0], logged=dict(loss_distill_0=0.25)), Metric('mIoU'))
    assert one.task_loss == ([10, 20], [0.75, 0.75])
    assert one.distillation_loss == ([10, 20], [0.25, 0.25])
    study = Study(tmp_path / 'b.py', (Entry('at', 'at'),))
    write_tables(tmp_path, study, [Row(study.entries[0], [one])], ['First.'])
    page = (tmp_path / 'report.html').read_text()
    assert '<figcaption>distillation loss</figcaption>' in page
    assert '<p>First.</p>' in page


def test_the_metric_is_the_students_and_a_teacher_with_another_says_so(rows, study, tmp_path):
    run = logged_run(tmp_path, 'teacher', 0, [50.0])
    teacher = Row(Entry('teacher', 'teacher'), [Result(run, Metric('other'))])
    table = write_tables(tmp_path, study, [teacher, *rows]).splitlines()
    assert table[2].startswith('| method | mIoU |') and table[4].startswith('| teacher, other | 3.00 |')
    same = replace(teacher, results=[Result(run, Metric('mIoU'))])
    assert '| teacher |' in write_tables(tmp_path, study, [same, *rows])
