import copy

import pytest
import torch
from toy import Record, distiller_config, toy_runner

from ovkd_mm.hooks import ConnectorWarmupHook


def student_and_connectors(runner):
    state = copy.deepcopy(runner.model.state_dict())
    connectors = {key: state.pop(key) for key in list(state) if key.startswith('distiller.')}
    return state, connectors


def same(first, second):
    return {key for key in first if torch.equal(first[key], second[key])}


def states_of_student(runner):
    """The optimizer's state of each of the student's weights that has one."""
    student = set(runner.model.student.parameters())
    return {weight: state for weight, state in runner.optim_wrapper.optimizer.state.items() if weight in student}


def run(work_dir, hook, **settings):
    """Train; return the runner and, after every iteration, the model's state and how many weights have a momentum."""
    runner = toy_runner(
        work_dir,
        custom_hooks=[
            hook,
            record := Record(lambda runner: (student_and_connectors(runner), states_of_student(runner))),
        ],
        **settings,
    )
    start = student_and_connectors(runner)
    runner.train()
    return runner, start, record.seen


@pytest.mark.parametrize('optimizer', [dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-2), dict(type='AdamW')])
@pytest.mark.parametrize('clip', [None, dict(max_norm=0.1)])
def test_during_warmup_the_student_is_bit_identical_and_the_connectors_learn(tmp_path, optimizer, clip):
    _, start, seen = run(
        tmp_path, ConnectorWarmupHook(epochs=1), epochs=2, optim_wrapper=dict(optimizer=optimizer, clip_grad=clip)
    )
    for (student, connectors), states in seen[:2]:  # an epoch is two iterations
        assert same(student, start[0]) == set(student)  # running statistics too
        assert not same(connectors, start[1]) & {f'distiller.pairs.{i}.student_transform.conv.weight' for i in (0, 1)}
        assert not states
    (student, _), states = seen[2]
    assert not same(student, start[0]) & {'fc.weight', 'backbone.layer1.0.bn1.running_mean'}
    assert states


def test_a_length_in_iterations_holds_in_an_iteration_based_loop(tmp_path):
    _, start, seen = run(tmp_path, ConnectorWarmupHook(iters=3), iters=5)
    frozen = [same(student, start[0]) == set(student) for (student, _), _ in seen]
    assert frozen == [True, True, True, False, False]


def test_an_epoch_of_an_iteration_based_loop_is_a_pass_over_the_training_set(tmp_path):
    _, start, seen = run(tmp_path, ConnectorWarmupHook(epochs=1), iters=4)
    frozen = [same(student, start[0]) == set(student) for (student, _), _ in seen]
    assert frozen == [True, True, False, False]  # eight images in batches of four


def test_gradient_clipping_sees_the_connectors_alone(tmp_path):
    runner = toy_runner(
        tmp_path,
        iters=1,
        custom_hooks=[ConnectorWarmupHook(iters=1)],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), clip_grad=dict(max_norm=1e6)),
    )
    gradients = []
    for weight in runner.model.pairs.parameters():
        weight.register_hook(gradients.append)
    runner.train()
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert runner.message_hub.get_scalar('train/grad_norm').current() == pytest.approx(norm.item(), rel=1e-5)


def test_a_method_without_connectors_has_no_warmup(tmp_path):
    at = dict(
        position=dict(type='ovkd_mm.EndOfGroup'),
        teacher_transform=dict(type='ovkd_mm.AttentionMap'),
        student_transform=dict(type='ovkd_mm.AttentionMap'),
        loss=dict(type='ovkd_mm.L2Loss'),
    )
    _, start, seen = run(tmp_path, ConnectorWarmupHook(iters=2), iters=3, model=distiller_config(method=at))
    assert not any('fc.weight' in same(student, start[0]) for (student, _), _ in seen)


def test_training_that_ends_during_warmup_leaves_a_trainable_model(tmp_path):
    runner, _, _ = run(tmp_path, ConnectorWarmupHook(epochs=9), epochs=1)
    norm = runner.model.student.backbone.layer1[0].bn1
    assert norm.track_running_stats
    weight = runner.model.student.fc.weight
    weight.grad = None
    (weight.sum() * 3).backward()
    assert (weight.grad == 3).all()


def test_gradient_accumulation_over_the_end_of_warmup_keeps_its_gradients_apart(tmp_path):
    _, start, seen = run(
        tmp_path,
        ConnectorWarmupHook(iters=2),
        iters=4,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=2),
    )
    frozen = [same(student, start[0]) >= {'fc.weight'} for (student, _), _ in seen]
    assert frozen == [True, True, True, False]


def test_wrong_lengths_and_models_are_errors(tmp_path):
    for wrong in (dict(), dict(epochs=1, iters=1)):
        with pytest.raises(ValueError, match='either epochs or iters'):
            ConnectorWarmupHook(**wrong)
    with pytest.raises(TypeError, match='needs a FeatureDistiller, got ToyClassifier'):
        toy_runner(tmp_path, model=dict(type='ToyClassifier'), custom_hooks=[ConnectorWarmupHook(epochs=1)]).train()


def test_an_optimizer_of_other_tensors_is_an_error(tmp_path):
    runner = toy_runner(tmp_path, custom_hooks=[ConnectorWarmupHook(epochs=1)])
    flat = torch.nn.Parameter(torch.zeros(3))
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.optim_wrapper.optimizer.param_groups[0]['params'][:] = [flat]
    with pytest.raises(ValueError, match='use_orig_params=True'):
        runner.train()


def test_the_hook_is_found_by_name(tmp_path):
    runner = toy_runner(
        tmp_path, model=distiller_config(), custom_hooks=[dict(type='ovkd_mm.ConnectorWarmupHook', iters=1)]
    )
    assert any(isinstance(hook, ConnectorWarmupHook) for hook in runner.hooks)


def test_a_norm_that_tracks_nothing_is_left_so(tmp_path):
    runner = toy_runner(tmp_path, iters=2, custom_hooks=[ConnectorWarmupHook(iters=1)])
    norms = [module for module in runner.model.student.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    norms[0].track_running_stats = False
    runner.train()
    assert [norm.track_running_stats for norm in norms] == [False] + [True] * (len(norms) - 1)
