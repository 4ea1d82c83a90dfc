from mmengine.config import ConfigDict

from ovkd_mm.benchmark import loading
from ovkd_mm.benchmark.loading import images_per_second


def config(**dataset):
    return ConfigDict(
        train_dataloader=dict(
            dataset=dict(type='ToyImages', **dataset),
            batch_size=64,
            num_workers=0,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='InfiniteSampler', shuffle=True),
        )
    )


def test_images_are_counted_after_the_first_batch(monkeypatch):
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(loading.time, 'perf_counter', lambda: next(clock))
    assert images_per_second(config(size=8), batch_size=2, batches=5) == 2 * 5 / 2


def test_no_batch_is_waited_for_that_is_not_counted(monkeypatch):
    taken = []

    def loader(settings, seed):
        for index in range(100):
            taken.append(index)
            yield dict(inputs=[0, 0])

    monkeypatch.setattr(loading.Runner, 'build_dataloader', loader)
    images_per_second(config(size=8), batch_size=2, batches=5)
    assert len(taken) == 1 + 5


def test_a_loader_that_ends_before_is_timed_to_its_end(monkeypatch):
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(loading.time, 'perf_counter', lambda: next(clock))
    short = config(size=8)
    short.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=False)
    assert images_per_second(short, batch_size=2, batches=50) == 2 * 3 / 2
