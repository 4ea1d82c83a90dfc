import json
import os
import textwrap
from pathlib import Path

import pytest
from mmengine.config import Config

from ovkd_mm.compare.training import Training

# Stands for tools/train.py where only what becomes of its end is looked at.
TOOL = """
import json, os, signal, sys, time
from pathlib import Path
folder = Path(sys.argv[sys.argv.index('--work-dir') + 1])
def log(**entry):
    file = folder / '20250101_000000/vis_data/scalars.json'
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open('a') as log:
        log.write(json.dumps(entry) + chr(10))
print('arguments', sys.argv[1:])
"""
GOOD = 'log(step=1, loss=1.0)\nlog(step=1, m=0.5)\n'


@pytest.fixture
def run(tmp_path):
    def run(body: str, metric: str | None = 'm', facts: dict | None = None) -> Training:
        tool = tmp_path / 'tool.py'
        tool.write_text(TOOL + textwrap.dedent(body))
        training = Training('kd', 3, Config(dict(a=1)), tmp_path / 'kd/seed3', 'abc')
        training.check()
        lock = os.open(tmp_path / 'lock', os.O_CREAT | os.O_RDWR)
        training.run(tool, facts or {}, metric, said.append, lock)
        os.close(lock)
        return training

    said = run.said = []
    return run


def test_a_training_that_ends_with_its_metric_is_finished(run, tmp_path):
    training = run(GOOD, facts=dict(parameters=7))
    assert training.state == 'finished'
    note = json.loads((tmp_path / 'kd/seed3/run.json').read_text())
    assert note['recipe'] == dict(config=dict(a=1), teacher='abc')
    assert note['parameters'] == 7
    assert note['reason'] is None
    assert Config.fromfile(tmp_path / 'kd/seed3.py').a == 1
    folder = str(tmp_path / 'kd/seed3')
    assert f'arguments {[f"{folder}.py", "--work-dir", folder, "--resume"]}' in training.log.read_text()
    assert Training('kd', 3, Config(dict(a=1)), tmp_path / 'kd/seed3', 'abc').state == 'finished'


@pytest.mark.parametrize(
    ('body', 'reason'),
    [
        ("print('much')\nraise KeyError('lr')", "KeyError: 'lr'"),
        ("class OddError(Exception): pass\nraise OddError('a' + chr(10) + 'b')", 'OddError: a'),
        ("sys.exit('error: no data')", 'error: no data'),
        ('sys.exit(3)', 'arguments'),
        ('os.kill(os.getpid(), signal.SIGKILL)', 'ended by SIGKILL, which the system sends when memory runs out'),
        ('os.kill(os.getpid(), signal.SIGSEGV)', 'ended by SIGSEGV'),
        ('log(step=1, other=0.5, time=1)', "the validation has no metric 'm'; it has other"),
        ('log(step=1, m=0.5)\nlog(step=2, loss=1)', 'no validation is logged after the last iteration'),
        ('pass', 'no validation is logged after the last iteration'),
    ],
)
def test_a_training_that_fails_says_why_in_a_line(run, body, reason):
    training = run(body)
    assert training.state == 'failed'
    # Python 3.10 names the module of an exception of __main__, too.
    assert training.note['reason'].removeprefix('__main__.').startswith(reason)
    assert '\n' not in training.note['reason']


def test_what_needs_a_finished_training_is_told_why_it_is_none(run):
    with pytest.raises(ValueError, match=r"^kd, seed 3 failed: KeyError: 'one' \(all of it in .*train\.log\)$"):
        run("raise KeyError('one')").check_finished()
    run(GOOD).check_finished()


def test_its_checkpoint_is_the_newest_also_where_a_kill_came_before_the_note_of_it(tmp_path):
    training = Training('teacher', 0, Config(dict(a=1)), tmp_path / 'teacher/seed0')
    training.folder.mkdir(parents=True)
    assert training.checkpoint is None
    for epoch in (1, 2, 10):
        (training.folder / f'epoch_{epoch}.pth').touch()
    (training.folder / 'best_m_epoch_1.pth').touch()
    newest = str(training.folder / 'epoch_10.pth')
    assert training.checkpoint == newest
    for noted in ('', '/elsewhere/epoch_2.pth'):
        (training.folder / 'last_checkpoint').write_text(noted)
        assert training.checkpoint == newest


def test_the_reason_is_that_of_the_last_attempt(run):
    assert run("raise KeyError('one')").note['reason'] == "KeyError: 'one'"
    assert run('sys.exit(1)').note['reason'].startswith('arguments')
    assert run(GOOD).note['reason'] is None


def test_any_metric_will_do_where_none_is_known(run):
    assert run(GOOD, metric=None).state == 'finished'


def test_progress_is_what_the_training_logs_last(run):
    line = 'Epoch(train)  [1][{}/20]  lr: 1.0e-01  eta: {}  time: 0.5  loss: 1'
    run(
        f"print('{line.format(10, '1 day, 0:00:09')}', flush=True)\ntime.sleep(0.5)\n"
        f"print('{line.format(20, '0:00:05')}', flush=True)\ntime.sleep(0.5)\n{GOOD}"
    )
    assert run.said[0] == 'Epoch(train)  [1][10/20], 1 day, 0:00:09 to go'
    assert run.said[-1] == 'Epoch(train)  [1][20/20], 0:00:05 to go'


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='no /proc')
def test_peak_memory_is_the_childs_and_the_greatest_of_all_attempts(run):
    assert run(f'time.sleep(0.5)\n{GOOD}').note['peak_rss_mib'] < 50  # this process has some hundreds
    more = run('data = bytes([1]) * 200 * 2**20\ndel data\ntime.sleep(0.5)').note['peak_rss_mib']
    assert 200 <= more < 250
    assert run(GOOD).note['peak_rss_mib'] == more


def test_a_run_of_another_config_or_teacher_is_refused(run, tmp_path):
    run(GOOD)
    folder = tmp_path / 'kd/seed3'
    with pytest.raises(ValueError, match=r'holds a run of another config, which differs in: a; delete the folder'):
        Training('kd', 3, Config(dict(a=2)), folder, 'abc').check()
    with pytest.raises(ValueError, match="differs in: the content of the teacher's checkpoint or config; delete"):
        Training('kd', 3, Config(dict(a=1)), folder, 'abd').check()
    Training('kd', 3, Config(dict(a=1)), folder, 'abc').check()


def test_a_teacher_whose_files_were_moved_is_the_same_as_long_as_their_content_is(tmp_path):
    def training(path, digest):
        config = Config(dict(model=dict(teacher=dict(model='mmdet::t.py', checkpoint=str(path)), a=1)))
        return Training('kd', 3, config, tmp_path / 'kd/seed3', digest)

    old, new = tmp_path / 'old.pth', tmp_path / 'new.pth'
    new.touch()
    training(old, 'abc').folder.mkdir(parents=True)
    training(old, 'abc')._write(state='started', recipe=training(old, 'abc').recipe)
    training(new, 'abc').check()
    for path, digest in ((new, 'abd'), (tmp_path / 'gone.pth', 'abc'), ('https://host/t.pth', 'abc')):
        with pytest.raises(ValueError, match=r'another config, which differs in: model.teacher.checkpoint'):
            training(path, digest).check()


def test_a_finished_run_without_the_metric_or_its_log_is_refused(run, tmp_path):
    training = run(GOOD)
    training.check('m')
    with pytest.raises(ValueError, match=r"seed3 is finished, but the validation has no metric 'mAP'; it has m$"):
        training.check('mAP')
    (tmp_path / 'kd/seed3/20250101_000000/vis_data/scalars.json').unlink()
    with pytest.raises(ValueError, match=r'seed3 is finished, but no validation is logged'):
        training.check()


def test_a_folder_with_other_things_in_it_is_refused(tmp_path):
    (tmp_path / 'thesis.tex').touch()
    with pytest.raises(ValueError, match='holds something else'):
        Training('kd', 0, Config(dict(a=1)), tmp_path).check()


def test_a_training_does_not_outlive_the_one_who_waits_for_it(run, tmp_path, monkeypatch):
    def stop(self, child, progress):
        while 'begun' not in self.log.read_text():
            assert child.poll() is None
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, '_wait', stop)
    with pytest.raises(KeyboardInterrupt):
        run("print('begun', flush=True)\ntime.sleep(3)\n(folder / 'outlived').touch()")
    assert not (tmp_path / 'kd/seed3/outlived').exists()
    assert json.loads((tmp_path / 'kd/seed3/run.json').read_text())['state'] == 'started'


def test_folders_that_differ_behind_a_dot_have_a_config_each(tmp_path):
    files = {Training('ofd', 0, Config({}), tmp_path / f'ofd-share-1.{share}-3-pairs').file for share in (25, 61)}
    assert {file.name for file in files} == {'ofd-share-1.25-3-pairs.py', 'ofd-share-1.61-3-pairs.py'}


def test_minutes_are_those_of_all_attempts(run):
    training = run('sys.exit(1)')
    training._write(minutes=60.0)
    assert run(GOOD).note['minutes'] >= 60


def test_what_a_kill_leaves_of_a_note_is_nothing_else(tmp_path):
    folder = tmp_path / 'kd' / 'seed3'
    folder.mkdir(parents=True)
    (folder / '.run.json.0123abcd.tmp').touch()
    Training('kd', 3, Config(), folder).check()


def test_a_note_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / 'run.json').touch()
    with pytest.raises(ValueError, match=r'run\.json cannot be read .*; delete its folder to train anew'):
        Training('kd', 3, Config(), tmp_path)
