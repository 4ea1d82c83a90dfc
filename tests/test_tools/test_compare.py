"""``tools/compare.py`` on toys."""

import fcntl
import json
import runpy
import shutil
import sys
from pathlib import Path

import compared_toys
import pytest
import yaml
from command_line import ROOT, modified
from mmengine.config import Config
from toy import ToyClassifier

STUDY = dict(
    config='base.py',
    methods={
        'none': dict(method='none'),
        'soft kd': {'method': 'kd', 'model.method.loss.temperature': 8},
        'broken': {'method': 'at', 'train_dataloader.dataset.type': 'NoSuchData'},
    },
    cfg_options={'model.teacher.norm_mode': 'running', 'train_cfg.max_epochs': 2},
    seeds=[3],
)


@pytest.fixture
def compare(tmp_path, monkeypatch, capsys):
    """Run the tool on a toy; returns its exit status or message, and what it printed."""
    compared_toys.write_base(tmp_path / 'base.py', monkeypatch)
    (tmp_path / 'study.yml').write_text(yaml.safe_dump(STUDY, sort_keys=False))

    def run(*flags: object, study: Path | None = tmp_path / 'study.yml') -> tuple[object, str]:
        command = [str(flag) for flag in ('compare.py', *filter(None, [study]), *flags)]
        if '--work-dir' not in command:
            command += ['--work-dir', str(tmp_path / 'work')]
        monkeypatch.setattr(sys, 'argv', command)
        try:
            runpy.run_path(str(ROOT / 'tools' / 'compare.py'), run_name='__main__')
        except SystemExit as end:
            captured = capsys.readouterr()
            return end.code if isinstance(end.code, str) else captured.err, captured.out
        return 0, capsys.readouterr().out

    return run


def test_a_study_trains_what_can_be_trained_and_goes_on_where_it_was_stopped(compare, tmp_path, monkeypatch):
    work_dir = tmp_path / 'work'
    if sys.version_info >= (3, 11):  # a config of one's own may be called as one of Python's modules
        (tmp_path / 'dis.py').write_text('raise RuntimeError("imported")')
        monkeypatch.chdir(tmp_path)
    status, said = compare()
    assert status == 'Some runs failed; see the table. The same command tries them again.'
    assert '[1/3] none, seed 3: accuracy ' in said
    assert (
        "[3/3] broken, seed 3: failed: error: train_dataloader.dataset.type='NoSuchData': there is no such dataset"
        in said
    )
    found = json.loads((work_dir / 'results.json').read_text())
    none, kd, broken = (method['runs'][0] for method in found['methods'])
    assert (none['state'], kd['state'], broken['state']) == ('finished', 'finished', 'failed')
    logged = (work_dir / 'soft-kd/seed3/train.log').read_text()
    assert f'accuracy: {kd["final"]:.4f}' in logged
    assert 'loss_distill_0' in logged
    assert 'distill' not in (work_dir / 'none/seed3/train.log').read_text()
    assert none['parameters'] == kd['parameters'] == sum(weight.numel() for weight in ToyClassifier().parameters())
    assert len(kd['curve']) == 2
    assert kd['seconds_per_iteration'] > 0
    assert kd['peak_memory_mib'] > 100
    assert (
        "| broken | - | - | - | - | - | 0 of 1; seed 3 failed: error: train_dataloader.dataset.type='NoSuch"
        in (work_dir / 'table.md').read_text()
    )
    assert (work_dir / 'report.html').is_file()

    # What is finished is not trained again.
    trained = modified(work_dir / 'none') | modified(work_dir / 'soft-kd')
    status, said = compare('--methods', 'none', 'soft kd')
    assert status == 0
    assert '2 runs, 2 finished before' in said
    assert modified(work_dir / 'none') | modified(work_dir / 'soft-kd') == trained
    # What was not asked for is in the tables all the same.
    labels = [one['label'] for one in json.loads((work_dir / 'results.json').read_text())['methods']]
    assert labels == ['none', 'soft kd', 'broken']

    # What is changed is not overwritten.
    status, _ = compare('--methods', 'none', 'soft kd', '--cfg-options', 'optim_wrapper.optimizer.lr=0.5')
    assert str(status).startswith('error: ')
    assert 'none/seed3 holds a run of another config, which differs in: optim_wrapper.optimizer.lr; delete' in status
    assert modified(work_dir / 'none') | modified(work_dir / 'soft-kd') == trained

    # What was stopped after its first epoch goes on from there, to the same figures.
    run = work_dir / 'soft-kd/seed3'
    (run / 'epoch_2.pth').unlink()
    (run / 'last_checkpoint').write_text(str(run / 'epoch_1.pth'))
    (run / 'run.json').write_text(json.dumps(json.loads((run / 'run.json').read_text()) | dict(state='started')))
    status, said = compare('--methods', 'none', 'soft kd')
    assert status == 0
    assert '2 runs, 1 finished before' in said
    assert 'resumed epoch: 1, iter: 10' in (run / 'train.log').read_text()
    again = json.loads((work_dir / 'results.json').read_text())['methods'][1]['runs'][0]
    assert again['curve'] == kd['curve']
    assert modified(work_dir / 'none').items() <= trained.items()


def test_what_cannot_be_built_is_named_before_anything_is_trained(compare, tmp_path):
    base = Config.fromfile(tmp_path / 'base.py', import_custom_modules=False)
    base.model.logits = []
    base.dump(tmp_path / 'base.py')
    status, _ = compare('--methods', 'none', 'kd', 'at', '--seeds', '0', '1')
    assert 'nothing is trained, since something is wrong with these:\n  kd: logits is empty' in status
    assert '  at: ' not in status
    assert not list((tmp_path / 'work').rglob('*.pth'))
    assert not (tmp_path / 'work/none').exists()


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--methods', 'kdd'], 'nor a method; nearest: kd'),
        (['--methods', 'at', 'at'], "error: methods: 'at' twice"),
        (['--seeds', '1', '1'], 'error: seeds must be distinct'),
        (['--cfg-options', 'model.teacher.checkpoint=nowhere.pth'], "checkpoint='nowhere.pth' does not exist"),
        (['--config', 'nowhere.py'], "error: config='nowhere.py' does not exist; looked for in"),
    ],
)
def test_errors_are_said_in_a_line_before_anything_is_written(compare, tmp_path, flags, message):
    status, _ = compare(*flags)
    assert message in status
    assert not (tmp_path / 'work').exists()


def test_two_labels_for_the_very_same_training_are_an_error(compare, tmp_path):
    same = dict(
        STUDY, methods={'kd': dict(method='kd'), 'same': {'method': 'kd', 'model.method.loss.temperature': 4.0}}
    )
    (tmp_path / 'study.yml').write_text(yaml.safe_dump(same))
    assert "'kd' and 'same' are the very same training" in compare()[0]


def test_a_metric_that_the_validation_will_not_have_is_named_before_anything_is_trained(compare, tmp_path):
    status, _ = compare('--methods', 'none', 'kd', '--metric', 'acuracy')
    assert (
        'nothing is trained, since something is wrong with these:\n'
        "  none: metric='acuracy': the validation has no such metric; nearest: accuracy" in status
    )
    assert not list((tmp_path / 'work').rglob('*.pth'))


def test_a_metric_that_cannot_be_looked_for_is_trained_for_with_a_word_even_in_a_folder_like_markup(compare, tmp_path):
    options = ['--metric', 'accuracy', '--cfg-options', 'val_dataloader.dataset.type=NoSuch']
    _, said = compare('--methods', 'none', *options, '--work-dir', tmp_path / '[' / 'x]')
    assert (
        "none: the metric is not checked beforehand: val_dataloader.dataset.type='NoSuch': there is no such "
        'dataset' in said
    )
    assert '[1/1] none, seed 3: failed' in said
    assert f'{tmp_path}/[/x]/table.md' in said


def test_a_work_dir_in_use_is_left_alone(compare, tmp_path):
    work_dir = tmp_path / 'work'
    work_dir.mkdir()
    (work_dir / 'thesis.tex').touch()
    assert 'holds something else than a study; name another with --work-dir' in compare()[0]
    assert [file.name for file in work_dir.iterdir()] == ['thesis.tex']

    (work_dir / 'thesis.tex').unlink()
    with (work_dir / 'study.lock').open('w') as lock:
        (work_dir / 'study.json').write_text(json.dumps(dict(config='base.py')))
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert 'another call, or a training that it left behind, is at work here' in compare()[0]

    shutil.copy(tmp_path / 'base.py', tmp_path / 'other.py')
    (work_dir / 'kd/seed0').mkdir(parents=True)
    (work_dir / 'kd/seed0/run.json').write_text('{}')
    status, _ = compare('--config', tmp_path / 'other.py')
    assert 'holds a study with config=base.py, not with config=other.py' in status
