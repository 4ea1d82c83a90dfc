"""A training of the demo is killed at a bad moment, and called again.

The killed ones import this file for its data set and metric.
"""

import io
import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import torch
from command_line import ROOT
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import DATASETS, METRICS
from rich.console import Console
from toy import ToyImages

from ovkd_mm.demo.train import METRIC, train
from ovkd_mm.report.history import read_history

KILLED = """
import os, sys
from pathlib import Path
from mmengine.fileio import LocalBackend
from rich.console import Console
from test_train import config, train

put, replace = LocalBackend.put, os.replace

def put_or_die(self, data, path):
    if Path(path).name == 'iter_4.pth':
        os._exit(9)
    put(self, data, path)

def replace_or_die(source, target):
    if Path(target).name == 'iter_4.pth':
        os._exit(9)
    replace(source, target)

if sys.argv[2] == 'before':
    LocalBackend.put = put_or_die
else:
    os.replace = replace_or_die
train(config(), Path(sys.argv[1]), Console())
"""


DATASETS.register_module(name='DemoToys', module=ToyImages, force=True)


@METRICS.register_module(force=True)
class ToyPrecision(BaseMetric):
    default_prefix, _, name = METRIC.partition('/')

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return {self.name: 0.5}


def config() -> Config:
    """Four iterations, saved and validated at 2 and 4, of which one checkpoint is kept, as the demo does."""
    loader = dict(dataset=dict(type='DemoToys'), batch_size=4, num_workers=0, collate_fn=dict(type='default_collate'))
    return Config(
        dict(
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


def call(work_dir: Path) -> str:
    """Train to the end, and return what the console shows."""
    console = Console(file=io.StringIO(), width=200)
    checkpoint = train(config(), work_dir, console)
    assert torch.load(checkpoint, weights_only=False)['meta']['iter'] == 4
    assert METRIC in read_history(work_dir)[-1]
    assert [file.name for file in work_dir.glob('*.pth')] == ['iter_4.pth']
    return console.file.getvalue()


def begun_at(work_dir: Path) -> int:
    """The first iteration of the last call."""
    log = max(work_dir.glob('*/vis_data/scalars.json'), key=lambda file: file.stat().st_mtime_ns)
    return json.loads(log.read_text().splitlines()[0])['step']


@pytest.mark.parametrize('moment', ['before', 'within'])
def test_a_kill_at_the_save_that_replaces_the_only_checkpoint_costs_what_came_after_it(tmp_path, moment):
    paths = (ROOT / 'tests', Path(__file__).parent, ROOT)
    code = f'import sys; sys.path[:0] = {list(map(str, paths))}; import ovkd_mm\n{KILLED}'
    killed = subprocess.run(
        [sys.executable, '-c', code, str(tmp_path / 'run'), moment], capture_output=True, text=True, check=False
    )
    assert killed.returncode == 9, killed.stderr[-3000:]
    said = call(tmp_path / 'run')
    assert begun_at(tmp_path / 'run') == 3
    assert ('the last save was cut off' in said) == (moment == 'within')
    assert not list((tmp_path / 'run').glob('.*'))
    assert 'kept' in call(tmp_path / 'run')


def test_a_note_of_a_checkpoint_that_is_missing_is_a_beginning(tmp_path):
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_2.pth'))
    assert 'from the beginning' in call(tmp_path)


def test_a_last_checkpoint_that_is_cut_short_is_trained_anew(tmp_path):
    assert 'beginning' not in call(tmp_path / 'run')
    last = tmp_path / 'run' / 'iter_4.pth'
    last.write_bytes(last.read_bytes()[:-100])
    said = call(tmp_path / 'run')
    assert 'iter_4.pth is passed over' in said
    assert 'kept' in call(tmp_path / 'run')


def test_a_last_checkpoint_without_its_log_is_validated(tmp_path):
    call(tmp_path / 'run')
    for log in (tmp_path / 'run').glob('*/vis_data/scalars.json'):
        log.unlink()
    assert 'kept' not in call(tmp_path / 'run')
