import json
import subprocess
import sys
from pathlib import Path

import pytest

from ovkd_mm.report.history import Run, read_history

HISTORY = [
    dict(step=10, loss=8.0, loss_cls=5.0, loss_distill_0=2.0, loss_distill_1=1.0, time=0.5),
    {'step': 10, 'pascal_voc/mAP': 0.125, 'time': 7.0},
    dict(step=20, loss=4.0, loss_cls=3.0, loss_distill_0=0.5, loss_distill_1=0.25, time=0.25),
    {'step': 20, 'pascal_voc/mAP': 0.5, 'time': 7.0},
]


def log(work_dir: Path, timestamp: str, entries: list[dict], end: str = '\n') -> None:
    folder = work_dir / timestamp / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join(json.dumps(entry) for entry in entries) + end)


def test_the_distillation_losses_are_taken_out_of_the_task_loss():
    assert Run(HISTORY).losses == ([10, 20], [5.0, 3.25], [3.0, 0.75])


def test_seconds_are_those_of_training_iterations():
    assert Run(HISTORY).seconds == 10 * 0.5 + 10 * 0.25
    trained, validated = dict(loss=1.0, time=0.5), dict(mIoU=0.5, time=9.0)
    assert Run([dict(step=50) | trained, dict(step=80) | validated, dict(step=100) | trained]).seconds == 50


def test_a_resumed_run_counts_what_was_logged_last(tmp_path):
    log(tmp_path, '20250101_000000', [dict(step=10, loss=9.0), {'m': 0.1, 'step': 10}, dict(step=20, loss=7.0)])
    log(tmp_path, '20250102_000000', [dict(step=20, loss=5.0), {'m': 0.2, 'step': 20}, dict(step=30, loss=4.0)])
    run = Run(read_history(tmp_path))
    assert run.curve('loss') == ([10, 20, 30], [9.0, 5.0, 4.0])
    assert run.curve('m') == ([10, 20], [0.1, 0.2])


@pytest.mark.parametrize('numbers', [(0, 0), (1, 2)])
def test_validations_stand_at_their_iteration_even_where_mmengine_numbers_them_by_epoch(tmp_path, numbers):
    first, second = numbers
    entries = [dict(step=50, loss=2.0), dict(step=100, loss=1.0), {'m': 0.1, 'step': first}]
    log(tmp_path, '20250101_000000', [*entries, dict(step=150, loss=0.5), {'m': 0.2, 'step': second}])
    assert Run(read_history(tmp_path)).curve('m') == ([100, 150], [0.1, 0.2])


def test_a_validation_that_is_all_a_resumed_run_had_left_to_do_stands_at_the_end(tmp_path):
    log(tmp_path, '20250101_000000', [dict(step=10, loss=9.0), {'m': 0.1, 'step': 10}, dict(step=20, loss=7.0)])
    log(tmp_path, '20250102_000000', [{'m': 0.2, 'step': 0}])
    assert Run(read_history(tmp_path)).curve('m') == ([10, 20], [0.1, 0.2])


def test_validations_between_two_lines_of_the_training_all_count(tmp_path):
    by_epoch = [dict(step=50, loss=2.0), *({'m': m, 'step': 0} for m in (0.1, 0.3, 0.2)), dict(step=100, loss=1.0)]
    log(tmp_path / 'a', '20250101_000000', by_epoch)
    assert Run(read_history(tmp_path / 'a')).curve('m') == ([50, 50, 50], [0.1, 0.3, 0.2])
    by_iteration = [{'m': 0.1, 'step': 10}, {'m': 0.3, 'step': 20}, dict(step=25, loss=1.0), {'m': 0.2, 'step': 30}]
    log(tmp_path / 'b', '20250101_000000', by_iteration)
    assert Run(read_history(tmp_path / 'b')).curve('m') == ([10, 20, 30], [0.1, 0.3, 0.2])


def test_a_resumed_run_replaces_validations_before_its_first_line(tmp_path):
    first = [dict(step=50, loss=2.0), {'m': 0.1, 'step': 60}, {'m': 0.2, 'step': 70}, dict(step=100, loss=1.0)]
    log(tmp_path, '20250101_000000', [*first, {'m': 0.9, 'step': 110}])
    log(tmp_path, '20250102_000000', [{'m': 0.3, 'step': 70}, dict(step=100, loss=1.5)])
    run = Run(read_history(tmp_path))
    assert run.curve('m') == ([60, 70], [0.1, 0.3])
    assert run.curve('loss') == ([50, 100], [2.0, 1.5])


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path):
    log(tmp_path, '20250101_000000', [dict(step=10, loss=9.0)], end='\n{"loss": 3.')
    assert read_history(tmp_path) == [dict(step=10, loss=9.0)]


def test_a_work_dir_without_a_log_has_no_history(tmp_path):
    assert read_history(tmp_path / 'nowhere') == []


def test_reading_a_log_takes_neither_matplotlib_nor_opencv():
    code = (
        'import sys; sys.modules.update(matplotlib=None, cv2=None)\n'
        'from ovkd_mm.report.history import read_history\n'
        "assert 'ovkd_mm.report.page' not in sys.modules and 'ovkd_mm.report.charts' not in sys.modules"
    )
    subprocess.run([sys.executable, '-c', code], check=True)


def test_validations_before_the_first_line_of_the_training_all_count(tmp_path):
    log(tmp_path, '20250101_000000', [*({'m': m, 'step': 0} for m in (0.1, 0.9)), dict(step=50, loss=2.0)])
    assert Run(read_history(tmp_path)).curve('m')[1] == [0.1, 0.9]


@pytest.mark.parametrize('stopped', [[dict(step=10, loss=2.0), {'m': 0.1, 'step': 20}], [dict(step=20, loss=2.0)]])
def test_attempts_come_in_their_order_also_where_the_clock_went_back(tmp_path, stopped):
    log(tmp_path, '20250101_090000', [dict(step=10, loss=3.0), *stopped])
    log(tmp_path, '20250101_010000', [dict(step=20, loss=1.0), dict(step=30, loss=0.5), {'m': 0.4, 'step': 30}])
    log(tmp_path, '20250101_000000', [{'m': 0.6, 'step': 30}])
    run = Run(read_history(tmp_path))
    assert run.curve('loss') == ([10, 20, 30], [stopped[0]['loss'] if len(stopped) > 1 else 3.0, 1.0, 0.5])
    assert run.curve('m')[1][-1] == 0.6
