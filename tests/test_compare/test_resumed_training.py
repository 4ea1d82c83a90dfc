"""A run of a study is killed at a bad moment, and run again.

The trainings import this file for its metric.
"""

import json
import os
import uuid
from pathlib import Path

import pytest
import torch
from command_line import ROOT
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from ovkd_mm.compare.training import Training
from ovkd_mm.report.history import read_history

METRIC = 'toys/precision'
TOOL = ROOT / 'tools' / 'train.py'

# Stands for tools/train.py, and dies at the save of the fourth iteration.
KILLED = """
import os, runpy
from pathlib import Path
from mmengine.fileio import LocalBackend
import ovkd_mm

put, replace = LocalBackend.put, os.replace

def put_or_die(self, data, path):
    if Path(path).name == 'iter_4.pth':
        os._exit(9)
    put(self, data, path)

def replace_or_die(source, target):
    if Path(target).name == 'iter_4.pth':
        os._exit(9)
    replace(source, target)

if {moment!r} == 'before':
    LocalBackend.put = put_or_die
else:
    os.replace = replace_or_die
runpy.run_path({tool!r}, run_name='__main__')
"""


@METRICS.register_module(force=True)
class ToyPrecision(BaseMetric):
    default_prefix, _, name = METRIC.partition('/')

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return {self.name: 0.5}


def config() -> Config:
    """Four iterations, saved and validated at 2 and 4, of which one checkpoint is kept, as the demo does."""
    loader = dict(dataset=dict(type='ToyImages'), batch_size=4, num_workers=0, collate_fn=dict(type='default_collate'))
    return Config(
        dict(
            custom_imports=dict(imports=['toy', Path(__file__).stem], allow_failed_imports=False),
            model=dict(type='ToyClassifier'),
            train_dataloader=dict(sampler=dict(type='InfiniteSampler'), **loader),
            val_dataloader=dict(sampler=dict(type='DefaultSampler', shuffle=False), **loader),
            val_evaluator=dict(type='ToyPrecision'),
            train_cfg=dict(by_epoch=False, max_iters=4, val_interval=2),
            val_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1),
                checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=1),
            ),
            log_processor=dict(by_epoch=False),
            randomness=dict(seed=0),
            experiment_name=uuid.uuid4().hex,
        )
    )


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Train, by default to the end, and return what is logged."""
    paths = [str(ROOT), str(ROOT / 'tests'), str(Path(__file__).parent)]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(paths))
    settings = config()

    def call(tool: Path = TOOL) -> str:
        training = Training('toy', 0, settings, tmp_path / 'toy/seed0')
        begin = training.log.stat().st_size if training.log.exists() else 0
        lock = os.open(tmp_path / 'lock', os.O_CREAT | os.O_RDWR)
        training.run(tool, {}, METRIC, lambda text: None, lock)
        os.close(lock)
        said = training.log.read_text()[begin:]
        if tool == TOOL:
            assert training.state == 'finished', said[-3000:]
            assert torch.load(training.folder / 'iter_4.pth', weights_only=False)['meta']['iter'] == 4
            assert METRIC in read_history(training.folder)[-1]
            assert [file.name for file in training.folder.glob('*.pth')] == ['iter_4.pth']
        else:
            assert training.state == 'failed'
        return said

    return call


def begun_at(work_dir: Path) -> int:
    """The first iteration of the last call."""
    log = max(work_dir.glob('*/vis_data/scalars.json'), key=lambda file: file.stat().st_mtime_ns)
    return json.loads(log.read_text().splitlines()[0])['step']


@pytest.mark.parametrize('moment', ['before', 'within'])
def test_a_kill_at_the_save_that_replaces_the_only_checkpoint_costs_what_came_after_it(call, tmp_path, moment):
    killed = tmp_path / 'train.py'
    killed.write_text(KILLED.format(moment=moment, tool=str(TOOL)))
    call(killed)
    said = call()
    assert begun_at(tmp_path / 'toy/seed0') == 3
    assert ('the last save was cut off' in said) == (moment == 'within')
    assert not list((tmp_path / 'toy/seed0').glob('.*'))


def test_a_note_of_a_checkpoint_that_is_missing_is_a_beginning(call, tmp_path):
    (tmp_path / 'toy/seed0').mkdir(parents=True)
    (tmp_path / 'toy/seed0/last_checkpoint').write_text(str(tmp_path / 'iter_2.pth'))
    assert 'from the beginning' in call()


def test_a_last_checkpoint_that_is_cut_short_is_trained_anew_and_one_without_its_log_is_validated(call, tmp_path):
    call()
    run = tmp_path / 'toy/seed0'
    last = run / 'iter_4.pth'
    last.write_bytes(last.read_bytes()[:-100])
    assert 'iter_4.pth is skipped' in call()
    for log in run.glob('*/vis_data/scalars.json'):
        log.unlink()
    assert 'Iter(train)' not in call()
