import math

import pytest
import torch
from toy import Record, toy_runner

from ovkd_mm.hooks import DistillScheduleHook, duration


def run(work_dir, schedule, look=lambda runner: runner.model.distill_weight, **settings):
    record = Record(look)
    runner = toy_runner(
        work_dir, custom_hooks=[dict(type='ovkd_mm.DistillScheduleHook', **schedule), record], **settings
    )
    runner.train()
    return runner, record.seen


@pytest.mark.parametrize(
    ('schedule', 'weights'),
    [
        (dict(start=0.5), [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]),
        (dict(stop_at=2), [1, 1, 1, 1, 0, 0]),
        (dict(schedule='linear'), [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        (dict(schedule='linear', start=0.0, end=2.0, length=1), [0, 1, 2, 2, 2, 2]),
        (dict(schedule='linear', stop_at=2), [1, 0.75, 0.5, 0.25, 0, 0]),
        (dict(schedule='cosine', length=2), [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0, 0]),
        (dict(schedule='cosine', end=0.5, length=4, stop_at=5, by_epoch=False), [1, None, 0.75, None, 0.5, 0]),
    ],
)
def test_the_weight_follows_its_schedule_in_epochs_of_two_iterations(tmp_path, schedule, weights):
    _, seen = run(tmp_path, schedule, epochs=3)
    for value, expected in zip(seen, weights, strict=True):
        assert expected is None or value == pytest.approx(expected, abs=1e-12)


def test_the_model_is_left_as_it_was_found(tmp_path):
    runner, seen = run(tmp_path, dict(stop_at=1), epochs=2)
    assert seen[-1] == 0 and runner.model.distill_weight == 1


def test_epochs_count_in_an_iteration_based_loop_too(tmp_path):
    _, seen = run(tmp_path, dict(schedule='linear', stop_at=2), iters=6)
    assert seen == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0])


@pytest.mark.parametrize(('stop_at', 'said'), [(4, True), (3, False)])
def test_an_end_that_the_training_does_not_reach_is_named(tmp_path, stop_at, said):
    run(tmp_path, dict(stop_at=stop_at), iters=6)
    (log,) = tmp_path.glob('*/*.log')
    assert (
        f'DistillScheduleHook.stop_at={stop_at} is after the end of the training, which has 3 epochs' in log.read_text()
    ) == said


@pytest.mark.parametrize(('stop_at', 'said'), [(2, True), (3, False)])
def test_an_end_within_the_warm_up_is_named(tmp_path, stop_at, said):
    hooks = [
        dict(type='ovkd_mm.ConnectorWarmupHook', iters=4),
        dict(type='ovkd_mm.DistillScheduleHook', stop_at=stop_at),
    ]
    toy_runner(tmp_path, custom_hooks=hooks, epochs=3).train()
    (log,) = tmp_path.glob('*/*.log')
    assert (f'stop_at={stop_at} is not after the warm-up of the connectors, which takes 4' in log.read_text()) == said


def test_in_an_iteration_based_loop_two_processes_have_epochs_of_half_as_many_iterations(tmp_path, monkeypatch):
    monkeypatch.setattr(duration, 'get_world_size', lambda: 2)
    _, seen = run(tmp_path, dict(schedule='linear', stop_at=2), iters=3)
    assert seen == pytest.approx([1, 0.5, 0])


def test_at_weight_zero_the_teacher_does_not_run_and_the_student_trains_as_without_distillation(tmp_path):
    calls = []

    def look(runner):
        return len(calls), {key: value.clone() for key, value in runner.model.student.state_dict().items()}

    runner = toy_runner(
        tmp_path, custom_hooks=[DistillScheduleHook(stop_at=1, by_epoch=False), record := Record(look)], epochs=2
    )
    runner.model.teacher.model.backbone.stem.register_forward_pre_hook(lambda *_: calls.append(1))
    runner.train()
    assert [count for count, _ in record.seen] == [1, 1, 1, 1]

    # The same with pairs of weight zero, whose gradients are zeros too.
    runner = toy_runner(tmp_path / 'other', custom_hooks=[other := Record(look)], epochs=2)
    runner.register_hook(SetPairWeights(), priority='HIGHEST')
    runner.train()
    for key, value in record.seen[-1][1].items():
        assert torch.equal(value, other.seen[-1][1][key]), key


class SetPairWeights(Record):
    """From the second iteration on all pairs weigh nothing."""

    def __init__(self):
        super().__init__(lambda runner: [setattr(pair, 'weight', 0.0) for pair in runner.model.pairs])


def test_at_weight_zero_every_connector_gets_a_zero_gradient_so_that_ddp_goes_on(tmp_path):
    runner = toy_runner(tmp_path)
    runner.model.distill_weight = 0
    loss, log = runner.model.parse_losses(runner.model(*runner_batch(runner), mode='loss'))
    loss.backward()
    assert all((weight.grad == 0).all() for weight in runner.model.pairs.parameters())
    assert log['loss_distill_0'] == log['loss_distill_1'] == 0


def test_a_connector_that_is_not_finite_does_not_spoil_a_run_without_distillation(tmp_path):
    runner = toy_runner(tmp_path)
    runner.model.distill_weight = 0
    with torch.no_grad():
        runner.model.pairs[0].student_transform.conv.weight.fill_(math.nan)
    assert torch.isfinite(runner.model.parse_losses(runner.model(*runner_batch(runner), mode='loss'))[0])


def runner_batch(runner):
    data = next(iter(runner.build_dataloader(runner._train_dataloader)))
    return data['inputs'], data['data_samples']


def test_the_log_shows_the_weight_and_that_all_is_skipped_once_it_is_zero(tmp_path):
    scalars = ('distill_weight', 'distill_share', 'distill_skipped_0')

    def look(runner):
        return [runner.message_hub.get_scalar(f'train/{name}').current() for name in scalars]

    _, seen = run(tmp_path, dict(stop_at=1), look, log_processor=dict(window_size=1))
    assert seen[0][0] == 1 and seen[0][1] > 0 and 0 < seen[0][2] < 1
    assert seen[-1] == [0, 0, 1]


def test_wrong_schedules_and_models_are_errors(tmp_path):
    with pytest.raises(ValueError, match=r"schedule must be one of constant, linear, cosine; got 'poly'"):
        DistillScheduleHook('poly')
    with pytest.raises(ValueError, match=r'start must be a number from 0 up, got -1'):
        DistillScheduleHook(start=-1)
    with pytest.raises(ValueError, match=r'stop_at must be a number above 0, got 0'):
        DistillScheduleHook(stop_at=0)
    with pytest.raises(TypeError, match='needs a FeatureDistiller, got ToyClassifier'):
        run(tmp_path, dict(), model=dict(type='ToyClassifier'))


@pytest.mark.parametrize('unused', [dict(end=0.1), dict(length=10)])
def test_a_constant_weight_has_no_use_for_an_end_or_a_length(unused):
    with pytest.raises(ValueError, match=r"schedule='constant' stays at start and takes neither end nor length"):
        DistillScheduleHook(**unused)


@pytest.mark.parametrize(
    ('wrong', 'why'),
    [
        (dict(end=-1), 'end must be a number from 0 up, got -1'),
        (dict(length=0), 'length must be a number above 0, got 0'),
    ],
)
def test_where_a_weight_goes_and_how_long_it_takes_are_checked_too(wrong, why):
    with pytest.raises(ValueError, match=f'DistillScheduleHook.{why}'):
        DistillScheduleHook('linear', **wrong)
