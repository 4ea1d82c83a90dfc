"""Ctrl-C, sent to real processes. The trainings import this file for their data set."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy
from command_line import ROOT
from mmengine.config import Config
from mmengine.registry import DATASETS
from torch.utils.data import Dataset


@DATASETS.register_module(force=True)
class EndlessToys(Dataset):
    """More images than anybody waits for."""

    def __len__(self):
        return 10**6

    def __getitem__(self, index):
        time.sleep(0.01)
        image, label = toy.batch(1, index)
        return dict(inputs=image[0], data_samples=label[0])


@pytest.fixture
def home(tmp_path):
    loader = dict(
        dataset=dict(type='EndlessToys'),
        sampler=dict(type='DefaultSampler', shuffle=False),
        batch_size=2,
        num_workers=2,
        collate_fn=dict(type='default_collate'),
    )
    Config(
        dict(
            custom_imports=dict(imports=[Path(__file__).stem], allow_failed_imports=False),
            model=toy.distiller_config(),
            train_dataloader=loader,
            val_dataloader=loader,  # which is never reached; what is compared needs one
            val_evaluator=dict(type='DumpResults', out_file_path='never.pkl'),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            val_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        )
    ).dump(tmp_path / 'endless.py')
    return tmp_path


@pytest.mark.parametrize(
    ('command', 'advice'),
    [
        (['train', 'endless.py', '--work-dir', 'work'], 'The same command with --resume resumes'),
        (['compare', '--config', 'endless.py', '--methods', 'at', '--work-dir', 'work'], 'The same command resumes'),
    ],
)
def test_ctrl_c_ends_a_tool_with_one_line_that_says_how_to_go_on(home, command, advice):
    name, *flags = command
    paths = [str(ROOT / 'tests'), str(Path(__file__).parent), *filter(None, [os.environ.get('PYTHONPATH')])]
    with (home / 'out').open('w') as out, (home / 'err').open('w') as err:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / 'tools' / f'{name}.py'), *flags],
            cwd=home,
            env=os.environ | dict(PYTHONPATH=os.pathsep.join(paths), OMP_NUM_THREADS='1'),
            stdout=out,
            stderr=err,
            start_new_session=True,  # a terminal sends the signal to all of a job's processes
            # A shell starts its background jobs deaf to it, and so would all be that these start.
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
    said = home / 'out' if name == 'train' else home / 'work/at/seed0/train.log'
    while not said.is_file() or 'Epoch(train)' not in said.read_text():
        assert process.poll() is None, (home / 'out').read_text() + (home / 'err').read_text()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == 130
    said = (home / 'err').read_text()
    assert 'Traceback' not in said
    assert said.splitlines()[-2:] == ['', f'Stopped. {advice} from the last checkpoint.']
