import itertools
import random

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner, loops
from torch.utils.data import Dataset, get_worker_info

from ovkd_mm.hooks import SeedHook, seed_hook

COUNT = itertools.count()
INFINITE = dict(type='InfiniteSampler', shuffle=True)
SHUFFLED = dict(type='DefaultSampler', shuffle=True)


def draws() -> list[float]:
    """A number of each generator."""
    return [random.random(), np.random.rand(), torch.rand(()).item()]


class Noise(Dataset):
    """Eight samples that are nothing but their index and what was drawn for them."""

    prepared = None

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.tensor([index, *draws()], dtype=torch.float64), str(self.prepared)


class Recorder(BaseModel):
    """Keeps what it was given and what it drew itself."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def forward(self, inputs, prepared, mode='tensor'):
        if mode == 'predict':
            return draws()
        self.seen.append((inputs.tolist(), draws(), prepared))
        return dict(loss=self.weight)


class Nothing(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(draws())

    def compute_metrics(self, results):
        return dict(nothing=0)


def train(work_dir, by_epoch=True, load_from=None, seed=3, sampler=None, **loader) -> list:
    """Three epochs, or eight iterations, of two samples a batch; returns what the model saw in each iteration."""
    sampler = sampler or (SHUFFLED if by_epoch else INFINITE)
    loader = dict(num_workers=0, collate_fn=dict(type='default_collate')) | loader
    runner = Runner(
        model=Recorder(),
        work_dir=str(work_dir),
        train_dataloader=dict(dataset=Noise(), sampler=sampler, batch_size=2, **loader),
        train_cfg=dict(by_epoch=True, max_epochs=3) if by_epoch else dict(by_epoch=False, max_iters=8, val_interval=2),
        val_dataloader=dict(dataset=Noise(), sampler=SHUFFLED, batch_size=4, collate_fn=loader['collate_fn']),
        val_cfg=dict(),
        val_evaluator=[Nothing()],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            logger=None, checkpoint=dict(type='CheckpointHook', interval=1 if by_epoch else 3, by_epoch=by_epoch)
        ),
        custom_hooks=[SeedHook()],
        load_from=load_from,
        resume=load_from is not None,
        randomness=dict(seed=seed),
        log_level='ERROR',
        experiment_name=f'seed hook {next(COUNT)}',
    )
    runner.train()
    # Left to the garbage collector, each loading process would be waited for in vain for five seconds.
    runner.train_loop.dataloader_iterator = runner.train_dataloader._iterator = None
    return runner.model.seen


WORKERS = pytest.mark.parametrize(
    'workers',
    [{}, dict(num_workers=2), dict(num_workers=2, persistent_workers=True)],
    ids=['none', 'new', 'persistent'],
)


@WORKERS
@pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])
def test_a_resumed_training_draws_what_an_uninterrupted_one_does(tmp_path, by_epoch, workers):
    whole = train(tmp_path / 'whole', by_epoch, **workers)
    start, name = (4, 'epoch_1.pth') if by_epoch else (3, 'iter_3.pth')
    rest = train(tmp_path / 'rest', by_epoch, str(tmp_path / 'whole' / name), **workers)
    assert rest == whole[start:]


def test_a_finite_data_loader_that_starts_again_draws_it_too(tmp_path, monkeypatch):
    monkeypatch.setattr(loops.time, 'sleep', lambda seconds: None)
    whole = train(tmp_path / 'whole', by_epoch=False, sampler=SHUFFLED)
    rest = train(tmp_path / 'rest', False, str(tmp_path / 'whole' / 'iter_6.pth'), sampler=SHUFFLED)
    assert rest == whole[6:]


def numbers(seen: list) -> list:
    """All that was drawn in the iterations."""
    return [number for inputs, own, _ in seen for sample in [*inputs, [None, *own]] for number in sample[1:]]


@WORKERS
@pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])
def test_no_number_is_drawn_twice(tmp_path, by_epoch, workers):
    found = numbers(train(tmp_path, by_epoch, **workers))
    assert len(set(found)) == len(found) == (12 if by_epoch else 8) * 9


@WORKERS
@pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])
def test_the_seed_decides_what_is_drawn(tmp_path, by_epoch, workers):
    one, same, other = (numbers(train(tmp_path, by_epoch, seed=seed, **workers)) for seed in (1, 1, 20))
    assert one == same
    assert not set(one) & set(other)


@WORKERS
@pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])
def test_processes_load_with_other_numbers_and_their_models_draw_the_same(tmp_path, monkeypatch, by_epoch, workers):
    loaded, drawn = [], []
    for rank in (0, 1):
        monkeypatch.setattr(seed_hook, 'get_rank', lambda rank=rank: rank)
        # Upstream's seeds of the loading processes of an iteration-based loop.
        monkeypatch.setattr('mmengine.runner.runner.get_rank', lambda rank=rank: rank)
        seen = train(tmp_path, by_epoch, **workers)
        loaded.append({number for inputs, _, _ in seen for sample in inputs for number in sample[1:]})
        drawn.append([own for _, own, _ in seen])
    assert not loaded[0] & loaded[1]
    assert drawn[0] == drawn[1]


def prepare(worker, label):
    get_worker_info().dataset.prepared = label
    random.seed(0)


def test_what_the_config_does_to_a_worker_is_done_first(tmp_path):
    seen = train(tmp_path, num_workers=2, worker_init_fn=dict(type=prepare, label='yes'))
    assert all(prepared == ('yes', 'yes') for _, _, prepared in seen)
    assert len(set(numbers(seen))) == len(numbers(seen))
