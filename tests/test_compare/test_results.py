import json
import math

import pytest
from compared_run import CPU, logged_run
from mmengine.config import Config

from ovkd_mm.compare.results import Metric, Result, Row, choose_metric, mean_and_std
from ovkd_mm.compare.study import Entry
from ovkd_mm.compare.training import Training


def test_less_may_be_better(tmp_path):
    result = Result(logged_run(tmp_path, 'at', 0, [3.0, 1.0, 2.0]), Metric('mIoU', less_is_better=True))
    assert (result.final, result.best) == (2.0, 1.0)


@pytest.mark.parametrize(
    ('key', 'hook', 'expected'),
    [
        ('other', dict(save_best='mIoU'), Metric('other')),
        (None, dict(save_best='mIoU'), Metric('mIoU')),
        (None, dict(save_best=['a', 'b']), Metric('a')),
        (None, dict(save_best='x', rule='less'), Metric('x', True)),
        (None, dict(save_best='val_loss'), Metric('val_loss', True)),
        (None, dict(save_best='x', rule=['less']), Metric('x', True)),
        (None, dict(save_best=['x', 'y'], rule=['less', 'greater']), Metric('x', True)),
        ('y', dict(save_best=['x', 'y'], rule=['less', 'greater']), Metric('y')),
        ('y', dict(save_best=['x', 'y'], rule='less'), Metric('y', True)),
        ('other', dict(save_best='x', rule='less'), Metric('other')),
        (None, dict(save_best='auto', rule='less'), Metric('mIoU', True)),
        (None, dict(save_best='auto'), Metric('mIoU')),
        (None, None, Metric('mIoU')),
    ],
)
def test_the_metric_is_the_flags_then_save_best_then_a_toolkits(tmp_path, key, hook, expected):
    config = Config(dict(default_hooks=dict(checkpoint=hook)))
    logged = logged_run(tmp_path, 'at', 0, [1.0])
    assert choose_metric(key, config, [logged]) == expected
    assert choose_metric(None, Config(dict(a=1)), []) is None


def test_a_config_without_hooks_has_no_metric_of_its_own():
    assert choose_metric(None, Config(dict(default_hooks=None)), []) is None


def test_the_metric_of_unknown_toolkits_is_the_first_logged(tmp_path):
    folder = tmp_path / 'run/20250101_000000/vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('{"step": 1, "loss": 1}\n{"data_time": 0, "psnr": 3, "ssim": 1, "step": 1}')
    one = Training('at', 0, Config(dict(a=1)), tmp_path / 'run')
    assert choose_metric(None, Config(dict(a=1)), [one]) == Metric('psnr')


def test_a_run_that_failed_or_never_began_has_no_figures_but_says_why(tmp_path):
    failed = Result(logged_run(tmp_path, 'at', 0, [1.0], reason='KeyError: lr'), Metric('mIoU'))
    waiting = Result(Training('at', 1, Config(dict(a=1)), tmp_path / 'at/seed1'), Metric('mIoU'))
    assert not failed.finished and not waiting.finished
    assert failed.as_json() == dict(seed=0, state='failed', work_dir=str(tmp_path / 'at/seed0'), reason='KeyError: lr')
    assert waiting.as_json() == dict(seed=1, state='not run', work_dir=str(tmp_path / 'at/seed1'))
    row = Row('at', [failed, waiting])
    assert row.cells(2) == ['-'] * 5 + ['0 of 2; seed 0 failed: KeyError: lr; seed 1 not run']
    assert row.statistic('final') is None


def test_a_finished_run_without_the_metric_is_not_compared(tmp_path):
    run = logged_run(tmp_path, 'at', 0, [1.0])
    assert Result(run, Metric('mIoU')).finished
    assert not Result(run, Metric('accuracy')).finished
    assert not Result(run, None).finished
    assert Result(run, None).curve == ([], [])


def test_a_finished_run_has_all_its_figures(tmp_path):
    found = Result(logged_run(tmp_path, 'at', 2, [1.0, 3.0, 2.0]), Metric('mIoU')).as_json()
    assert (found['final'], found['best']) == (2.0, 3.0)
    assert found['curve'] == [(10, 1.0), (20, 3.0), (30, 2.0)]
    assert found['seconds_per_iteration'] == pytest.approx((0.5 + 0.25 + 0.25) / 3)
    assert (found['peak_memory_mib'], found['memory_kind']) == (702, 'RSS')
    assert (found['parameters'], found['minutes'], found['environment']) == (1_234_567, 2.0, CPU)
    assert 'reason' not in found
    json.dumps(found)


def test_memory_is_the_gpus_where_the_log_has_it(tmp_path):
    run = logged_run(tmp_path, 'at', 0, [1.0, 2.0], logged=dict(memory=900))
    (log,) = run.folder.glob('*/vis_data/scalars.json')
    log.write_text(log.read_text().replace('900', '1000', 1))
    assert Result(run, Metric('mIoU')).memory == (1000, 'GPU')


def test_one_value_has_no_deviation():
    assert mean_and_std([2.0]) == (2.0, None)
    assert mean_and_std([60.0, 63.0, 66.0]) == (63.0, 3.0)  # divided by 2, not by 3


def test_a_run_too_short_for_a_line_of_its_training_has_no_time(tmp_path):
    run = logged_run(tmp_path, 'at', 0, [1.0, 3.0])
    (log,) = run.folder.glob('*/vis_data/scalars.json')
    log.write_text('\n'.join(line for line in log.read_text().splitlines() if 'loss' not in line))
    result = Result(run, Metric('mIoU'))
    assert result.final == 3.0 and result.as_json()['seconds_per_iteration'] is None
    row = Row(Entry('at', 'at'), [result])
    assert row.statistic('seconds_per_iteration') is None and row.cells(2)[2] == '-'


@pytest.mark.parametrize('wrong', [float('nan'), float('inf')])
def test_a_metric_that_is_no_number_leaves_a_table_to_write(tmp_path, wrong):
    mean, deviation = mean_and_std([1.0, wrong])
    assert math.isnan(mean) and math.isnan(deviation)
    assert mean_and_std([wrong])[1] is None
    result = Result(logged_run(tmp_path, 'at', 0, [wrong, 60.0, 50.0]), Metric('mIoU'))
    assert (result.best, result.final) == (60.0, 50.0)
