import copy

import pytest
import torch
from toy import METHOD, Record, distiller_config, toy_runner

from ovkd_mm.hooks import InitializationHook

NO_DECAY = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))


def losses(runner):
    keys = ('loss_task', 'loss_distill_0', 'loss_distill_1')
    return [runner.message_hub.get_scalar(f'train/{key}').current() for key in keys]


def head(runner):
    return copy.deepcopy(runner.model.student.fc.state_dict())


def run(work_dir, hook, look=losses, **settings):
    runner = toy_runner(work_dir, custom_hooks=[hook, record := Record(look)], **settings)
    runner.train()
    return runner, record.seen


def test_first_distillation_alone_then_the_task_alone(tmp_path):
    _, seen = run(tmp_path, InitializationHook(iters=3), iters=5)
    for task, *distillation in seen[:3]:
        assert task == 0 and all(loss > 0 for loss in distillation)
    for task, *distillation in seen[3:]:
        assert task > 0 and distillation == [0, 0]


@pytest.mark.parametrize('length', [dict(epochs=1), dict(iters=2)])
def test_an_epoch_is_a_pass_over_the_training_set(tmp_path, length):
    _, seen = run(tmp_path, InitializationHook(**length), epochs=2)
    assert [row[1] > 0 for row in seen] == [True, True, False, False]


def test_the_head_rests_while_the_backbone_learns_from_the_teacher(tmp_path):
    runner = toy_runner(
        tmp_path, iters=2, custom_hooks=[InitializationHook(iters=1), record := Record(head)], optim_wrapper=NO_DECAY
    )
    start, gradients = head(runner), {name: [] for name, _ in runner.model.named_parameters()}
    for name, weight in runner.model.named_parameters():
        weight.register_hook(gradients[name].append)
    runner.train()
    assert torch.equal(record.seen[0]['weight'], start['weight'])
    assert not torch.equal(record.seen[1]['weight'], start['weight'])
    # DDP waits for a gradient of each weight in each iteration.
    assert {len(found) for found in gradients.values()} == {2}
    assert gradients['student.backbone.stem.weight'][0].any() and not gradients['student.fc.weight'][0].any()


def test_in_the_second_stage_the_teacher_does_not_run(tmp_path):
    calls = []
    runner = toy_runner(tmp_path, iters=4, custom_hooks=[InitializationHook(iters=1)])
    runner.model.teacher.model.backbone.stem.register_forward_hook(lambda *_: calls.append(1))
    runner.train()
    assert len(calls) == 1


def test_a_training_resumes_in_the_stage_where_it_stopped(tmp_path):
    settings = dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)), iters=6)
    whole, expected = run(tmp_path / 'whole', InitializationHook(iters=3), **settings)
    for start in (2, 4):
        resumed, seen = run(
            tmp_path / str(start),
            InitializationHook(iters=3),
            load_from=str(tmp_path / 'whole' / f'iter_{start}.pth'),
            resume=True,
            **settings,
        )
        assert seen == expected[start:]
        others = resumed.model.state_dict()
        assert all(torch.equal(value, others[key]) for key, value in whole.model.state_dict().items())


def test_the_model_is_left_as_it_was_found(tmp_path):
    for length in (1, 9):
        runner, _ = run(tmp_path / str(length), InitializationHook(iters=length), iters=2)
        assert (runner.model.task_weight, runner.model.distill_weight) == (1, 1)


def test_a_schedule_of_distillation_beside_it_is_an_error(tmp_path):
    hooks = [dict(type='ovkd_mm.InitializationHook', epochs=1), dict(type='ovkd_mm.DistillScheduleHook')]
    with pytest.raises(ValueError, match='an InitializationHook and a DistillScheduleHook, and both set the weight'):
        toy_runner(tmp_path, custom_hooks=hooks).train()


def test_wrong_lengths_and_models_are_errors(tmp_path):
    with pytest.raises(ValueError, match='InitializationHook needs either epochs or iters'):
        InitializationHook()
    with pytest.raises(TypeError, match='needs a FeatureDistiller, got ToyClassifier'):
        run(tmp_path, InitializationHook(epochs=1), model=dict(type='ToyClassifier'))


def test_several_methods_beside_it_are_an_error(tmp_path):
    with pytest.raises(
        ValueError, match=r'InitializationHook, which the method AB brings, .* the 2 methods of model.method'
    ):
        run(tmp_path, InitializationHook(iters=1), iters=2, model=distiller_config(method=[METHOD, METHOD]))
