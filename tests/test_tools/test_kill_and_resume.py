"""Kill a training for real, let it go on, and compare it with one that was left alone.

The trainings import this file for its data set, metric and hook.
"""

import random
import re
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import torch
from command_line import ROOT
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS, METRICS
from torch.utils.data import Dataset
from toy import distiller_config
from warm_start import start

BATCHES = 5  # an epoch


@DATASETS.register_module()
class SlowNoisyImages(Dataset):
    """Images of 16x16 with noise from all three generators, loaded slowly enough for a kill to hit a training."""

    def __len__(self):
        return 4 * BATCHES

    def __getitem__(self, index):
        time.sleep(0.01)
        image = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(index))
        image = image * random.uniform(0.5, 1.5) + np.random.randn() + torch.randn(())
        return dict(inputs=image.float(), data_samples=index % 3)


@METRICS.register_module()
class Accuracy(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [int(a == b) for a, b in zip(data_samples, data_batch['data_samples'], strict=True)]

    def compute_metrics(self, results):
        return dict(accuracy=sum(results) / len(results))


@HOOKS.register_module()
class BigCheckpointHook(Hook):
    """Makes checkpoints big enough for a kill to hit one while it is written."""

    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint['padding'] = torch.zeros(8 * 2**20)


def config(by_epoch: bool, **changes) -> Config:
    """A distillation with dropout, EMA, momentum and schedules; one margin is closed-form, the other a running mean."""
    module = dict(type='ovkd_mm.ModuleOutput', path='backbone.stem')
    loader = dict(dataset=dict(type='SlowNoisyImages'), batch_size=4, collate_fn=dict(type='default_collate'))
    workers = dict(num_workers=2, persistent_workers=True) if by_epoch else dict(num_workers=0)
    shuffled = dict(type='DefaultSampler' if by_epoch else 'InfiniteSampler', shuffle=True)
    return Config(
        dict(
            custom_imports=dict(imports=[Path(__file__).stem], allow_failed_imports=False),
            model=distiller_config(
                student=dict(type='ToyClassifier', dropout=0.3),
                pairs=[
                    dict(student=module, teacher=module, weight=0.5),
                    dict(student='backbone.layer2', teacher='backbone.layer2'),
                ],
            ),
            train_dataloader=dict(sampler=shuffled, **loader, **workers),
            val_dataloader=dict(sampler=dict(type='DefaultSampler', shuffle=False), num_workers=0, **loader),
            val_evaluator=[dict(type='Accuracy')],
            train_cfg=dict(by_epoch=True, max_epochs=6)
            if by_epoch
            else dict(by_epoch=False, max_iters=20, val_interval=6),
            val_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-4)),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=8),
                dict(type='PolyLR', power=0.9, eta_min=1e-4, by_epoch=False, begin=8, end=25),
            ],
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1),
                checkpoint=dict(
                    type='CheckpointHook', interval=1 if by_epoch else 4, by_epoch=by_epoch, save_best='accuracy'
                ),
            ),
            log_processor=dict(by_epoch=by_epoch),
            custom_hooks=[dict(type='EMAHook'), dict(type='BigCheckpointHook')],
            **changes,
        )
    )


class Training:
    """A config that is trained by ``tools/train.py``, again and again."""

    def __init__(self, config: Config, folder: Path) -> None:
        folder.mkdir()
        self.config = folder / 'config.py'
        config.dump(self.config)
        self.work_dir = folder / 'work'

    def start(self, *flags: str) -> BaseProcess:
        """Start a child process; what it prints is found in :meth:`log`."""
        folder = self.config.parent
        return start(
            ROOT / 'tools' / 'train.py',
            [str(self.config), '--work-dir', str(self.work_dir), *flags],
            folder,
            folder / 'log',
            modules=[ROOT / 'tests', Path(__file__).parent],
        )

    def log(self) -> str:
        return (self.config.parent / 'log').read_text()

    def finish(self, *flags: str) -> str:
        process = self.start(*flags)
        process.join()
        assert process.exitcode == 0, self.log()[-3000:]
        return self.log()

    def kill_in_iteration(self, number: int, draw: random.Random, *flags: str) -> None:
        """Kill it somewhere in the ``number``-th iteration after the start."""
        line = re.compile(r'(Epoch|Iter)\(train\)')
        self._kill(self.start(*flags), lambda: len(line.findall(self.log())) >= number, draw.random() / 20)

    def kill_while_saving(self, *flags: str) -> None:
        """Kill it as soon as half a checkpoint is there; if that was too late, once more."""

        def unfinished() -> bool:
            return any(self.work_dir.glob('.*.unfinished'))

        while not unfinished():
            self._kill(self.start(*flags), unfinished)

    def newest(self) -> Path:
        return max(self.work_dir.glob('epoch_?.pth'))

    def _kill(self, process: BaseProcess, when, later: float = 0) -> None:
        while not when():
            assert process.is_alive(), self.log()[-3000:]
            time.sleep(0.001)
        time.sleep(later)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL


def cut_short(checkpoint: Path, draw: random.Random) -> None:
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: draw.randrange(len(whole))])


def assert_same(one, two, where: str = '') -> None:
    """Compare nested values bit for bit."""
    assert type(one) is type(two), where
    if isinstance(one, dict):
        assert list(one) == list(two), where
        for key in one:
            assert_same(one[key], two[key], f'{where}.{key}')
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two), where
        for index, (a, b) in enumerate(zip(one, two, strict=True)):
            assert_same(a, b, f'{where}[{index}]')
    else:
        assert torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two, where


def assert_ended_alike(training: Training, whole: Training, name: str) -> None:
    found, expected = (torch.load(run.work_dir / name, weights_only=False) for run in (training, whole))
    for part in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
        assert_same(found[part], expected[part], part)
    assert any(key.endswith('.negatives') and value.any() for key, value in found['state_dict'].items())
    assert any('student_transform' in key for key in found['state_dict'])
    for scalar in ('train/loss', 'train/loss_distill_0', 'train/lr'):
        found_log, expected_log = (run['message_hub']['log_scalars'][scalar].data for run in (found, expected))
        assert all(map(np.array_equal, found_log, expected_log)), scalar


def test_by_epochs_with_persistent_workers(tmp_path):
    draw = random.Random(5)
    whole = Training(config(by_epoch=True, randomness=dict(seed=4)), tmp_path / 'whole')
    uninterrupted = whole.start()

    training = Training(config(by_epoch=True, randomness=dict(seed=4)), tmp_path / 'killed')
    training.kill_in_iteration(draw.randint(1, 4), draw)
    training.kill_in_iteration(draw.randint(BATCHES + 1, 2 * BATCHES - 1), draw, '--resume')
    training.kill_while_saving('--resume')
    whole_one = training.newest()
    training.kill_in_iteration(draw.randint(BATCHES + 1, 2 * BATCHES - 1), draw, '--resume')
    assert 'WARNING - the last save was cut off' in training.log()
    assert f'WARNING - taking {whole_one.name}, the newest checkpoint that is whole' in training.log()

    half = training.newest()
    cut_short(half, draw)
    log = training.finish('--resume')
    assert f'WARNING - {half.name} is skipped: ' in log
    assert f'WARNING - taking epoch_{int(half.stem[-1]) - 1}.pth, the newest checkpoint that is whole' in log

    uninterrupted.join()
    assert uninterrupted.exitcode == 0, whole.log()[-3000:]
    assert_ended_alike(training, whole, 'epoch_6.pth')


def test_by_iterations_with_a_seed_of_chance(tmp_path):
    draw = random.Random(6)
    training = Training(config(by_epoch=False), tmp_path / 'killed')
    training.kill_in_iteration(draw.randint(5, 8), draw)
    for checkpoint in training.work_dir.glob('iter_*.pth'):
        cut_short(checkpoint, draw)
    training.kill_in_iteration(draw.randint(5, 10), draw, '--resume')
    log = training.log()
    assert 'the training starts from the beginning' in log
    assert 'iter_4.pth is skipped: ' in log
    training.kill_in_iteration(draw.randint(1, 8), draw, '--resume')
    training.finish('--resume')

    seed = torch.load(training.work_dir / 'iter_20.pth', weights_only=False)['meta']['seed']
    whole = Training(config(by_epoch=False, randomness=dict(seed=seed)), tmp_path / 'whole')
    whole.finish()
    assert_ended_alike(training, whole, 'iter_20.pth')
