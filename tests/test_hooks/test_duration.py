import pytest
from torch.utils.data import BatchSampler
from toy import Record, ToyImages, toy_runner

from ovkd_mm.hooks import ConnectorWarmupHook, DistillScheduleHook, InitializationHook, duration
from ovkd_mm.hooks.duration import Duration, epoch_length


def test_epochs_are_passes_over_the_training_set_and_iterations_are_themselves(tmp_path):
    runner = toy_runner(tmp_path)
    assert Duration('A', epochs=3, iters=None).in_iters(runner) == 6
    assert Duration('A', epochs=None, iters=3).in_iters(runner) == 3
    assert Duration('A', epochs=0, iters=None).in_iters(runner) == 0


@pytest.mark.parametrize(('images', 'processes', 'length'), [(8, 1, 2), (8, 2, 1), (40, 8, 2), (9, 1, 3), (9, 2, 2)])
@pytest.mark.parametrize('sampler', ['InfiniteSampler', 'DefaultSampler'])
def test_all_processes_together_pass_once_over_the_training_set(
    tmp_path, monkeypatch, images, processes, length, sampler
):
    for module in ('mmengine.dataset.sampler.get_dist_info', 'mmengine.dist.get_dist_info'):
        monkeypatch.setattr(module, lambda: (0, processes))
    monkeypatch.setattr(duration, 'get_world_size', lambda: processes)
    loader = dict(
        dataset=ToyImages(images), batch_size=4, sampler=dict(type=sampler), collate_fn=dict(type='default_collate')
    )
    assert epoch_length(toy_runner(tmp_path, iters=1, train_dataloader=loader)) == length
    if sampler == 'DefaultSampler':
        assert epoch_length(toy_runner(tmp_path, train_dataloader=loader)) == length


@pytest.mark.parametrize(
    ('wrong', 'why'),
    [
        ((None, None), 'needs either epochs or iters; got epochs=None'),
        ((1, 1), 'needs either epochs or iters; got epochs=1, iters=1'),
        ((-1, None), '.epochs must be a whole number from 0 up, got -1'),
        ((None, '9'), ".iters must be a whole number from 0 up, got '9'"),
    ],
)
def test_wrong_lengths_are_errors_that_name_the_hook(wrong, why):
    with pytest.raises(ValueError, match=f'^SomeHook *{why}'):
        Duration('SomeHook', *wrong)


def test_a_batch_sampler_tells_the_size_of_its_batches(tmp_path):
    loader = dict(
        dataset=ToyImages(8),
        batch_size=4,
        sampler=dict(type='InfiniteSampler'),
        batch_sampler=dict(type=BatchSampler, drop_last=True),
        collate_fn=dict(type='default_collate'),
    )
    assert epoch_length(toy_runner(tmp_path, iters=1, train_dataloader=loader)) == 2


@pytest.mark.parametrize(
    ('hook', 'look', 'expected'),
    [
        (lambda: ConnectorWarmupHook(epochs=2), lambda runner: runner.model.student_learns, [False] * 4 + [True] * 8),
        (lambda: InitializationHook(epochs=2), lambda runner: runner.model.task_weight, [0] * 4 + [1] * 8),
        (lambda: DistillScheduleHook(stop_at=2), lambda runner: runner.model.distill_weight, [1] * 4 + [0] * 8),
        (
            lambda: DistillScheduleHook('linear'),
            lambda runner: runner.model.distill_weight,
            [1, 7 / 8, 6 / 8, 5 / 8, *(n / 16 for n in range(8, 0, -1))],
        ),
    ],
)
def test_stages_that_are_over_stay_over_where_a_resumed_training_has_other_batches(tmp_path, hook, look, expected):
    def run(name, batch_size, **changes):
        loader = dict(
            dataset=ToyImages(),
            batch_size=batch_size,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler'),
        )
        saved = dict(checkpoint=dict(type='CheckpointHook', interval=2))
        hooks = [hook(), record := Record(look)]
        settings = dict(train_dataloader=loader, default_hooks=saved, custom_hooks=hooks, epochs=4)
        toy_runner(tmp_path / name, **settings, **changes).train()
        return record.seen

    seen = run('whole', 4)[:4] + run('resumed', 2, load_from=str(tmp_path / 'whole' / 'epoch_2.pth'), resume=True)
    assert seen == expected


@pytest.mark.parametrize('hook', [ConnectorWarmupHook, InitializationHook])
@pytest.mark.parametrize(
    ('length', 'all_of_it'), [(dict(epochs=1), False), (dict(epochs=2), True), (dict(iters=9), True)]
)
def test_a_stage_that_takes_the_whole_training_is_warned_of(tmp_path, hook, length, all_of_it):
    toy_runner(tmp_path, custom_hooks=[hook(**length)]).train()
    (log,) = tmp_path.glob('*/*.log')
    assert (f'{hook.__name__}: its ' in log.read_text()) == all_of_it
    assert ('are the whole training, which has 4 iterations' in log.read_text()) == all_of_it
