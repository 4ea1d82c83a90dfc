"""``tools/tune.py`` on toys."""

import re

import compared_toys
import pytest
from command_line import run_tool

pytest.importorskip('optuna')


def test_a_search_trains_real_trials_and_goes_on_with_more_of_them(tmp_path, monkeypatch):
    compared_toys.write_base(tmp_path / 'base.py', monkeypatch)
    flags = [tmp_path / 'base.py', '--methods', 'ofd', 'ofd+at', '--part', 0.8, '--work-dir', tmp_path / 'work']
    said = run_tool('tune', *flags, '--trials', 2)
    row = r'^\| (ofd|ofd\+at) \| ([\d.+]+) \| ([12]) of 2 \| ([\d.]+) \| (all|ended after \d of 4)'
    rows = re.findall(row, said, re.M)
    assert len(rows) == 2 and rows[0][4] == 'all'
    assert {(row[0], row[1]) for row in rows} == {('ofd', '3'), ('ofd+at', '3+3')}
    assert (tmp_path / 'work' / 'table.md').read_text() in said
    logs = [log.read_text() for log in (tmp_path / 'work').glob('*/train.log')]
    assert len(logs) == 2 and all('distill_auto_weight_0' in log for log in logs)
    assert sum('distill_auto_weight_1' in log for log in logs) == 1  # of the second method

    more = run_tool('tune', *flags, '--trials', 3)
    assert more.count('[3/3]') == 1 and '[1/3]' not in more and all(row[1] in more for row in rows)
    assert 'holds a study' in run_tool('tune', *flags, '--trials', 3, '--seed', 1, fails=True)
