"""A method's hooks come with the method, whoever makes the runner."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import FlexibleRunner
from toy import METHOD, Record, ToyImages, distiller_config, toy_runner

from ovkd_mm.hooks import InitializationHook

AB = dict(METHOD, hooks=[dict(type='ovkd_mm.InitializationHook', iters=1)])
CONFIG = """
_base_ = ['./student.py', 'ovkd_mm::_base_/methods/ab.py']
model = dict(
    _delete_=True,
    type='ovkd_mm.FeatureDistiller',
    student={{_base_.model}},
    teacher=dict(model=dict(type='ToyClassifier', width=6), allow_random=True),
    method={{_base_.method}},
    input_shape=(16, 16),
)
"""


def weights(runner) -> tuple[float, float]:
    return runner.model.task_weight, runner.model.distill_weight


def of_the_method(runner) -> list[InitializationHook]:
    return [hook for hook in runner.hooks if isinstance(hook, InitializationHook)]


def test_one_base_line_is_enough_for_a_method_with_a_stage(tmp_path):
    (tmp_path / 'student.py').write_text(
        "model = dict(type='ToyClassifier')\ncustom_hooks = [dict(type='ParamSchedulerHook')]"
    )
    (tmp_path / 'ab.py').write_text(CONFIG)
    config = Config.fromfile(tmp_path / 'ab.py')
    runner = toy_runner(
        tmp_path, config.model, custom_hooks=[*config.custom_hooks, record := Record(weights)], epochs=1
    )
    runner.train()
    assert [hook.duration.in_iters(runner) for hook in of_the_method(runner)] == [10 * 2]
    assert record.seen == [(0.0, 1.0)] * 2


def test_the_stage_ends_when_the_hook_says(tmp_path):
    runner = toy_runner(tmp_path, distiller_config(method=AB), iters=3, custom_hooks=[record := Record(weights)])
    runner.train()
    assert record.seen == [(0.0, 1.0), (1.0, 0.0), (1.0, 0.0)]


def test_a_hook_of_the_same_class_among_the_configs_own_takes_its_place(tmp_path):
    own = [dict(type='ovkd_mm.InitializationHook', iters=2), record := Record(weights)]
    runner = toy_runner(tmp_path, distiller_config(method=AB), iters=3, custom_hooks=own)
    runner.train()
    assert record.seen == [(0.0, 1.0), (0.0, 1.0), (1.0, 0.0)]
    assert len(of_the_method(runner)) == 1


def test_a_runner_that_runs_twice_has_them_once(tmp_path):
    runner = toy_runner(tmp_path, distiller_config(method=AB), iters=1)
    runner.train()
    runner.call_hook('before_run')
    assert len(of_the_method(runner)) == 1


def test_a_model_wrapped_for_several_processes_brings_them_too(tmp_path):
    class Wrapper(torch.nn.parallel.DistributedDataParallel):
        def __init__(self, module):
            torch.nn.Module.__init__(self)
            self.module = module

    runner = toy_runner(tmp_path, distiller_config(method=AB), iters=1)
    runner.model = Wrapper(runner.model)
    runner.call_hook('before_run')
    assert len(of_the_method(runner)) == 1


def test_mmengines_other_runner_registers_them(tmp_path):
    runner = FlexibleRunner(
        distiller_config(method=AB),
        work_dir=str(tmp_path),
        train_dataloader=dict(
            dataset=ToyImages(),
            batch_size=4,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=None),
        custom_hooks=[record := Record(weights)],
        experiment_name='flexible',
    )
    runner.train()
    assert record.seen == [(0.0, 1.0), (1.0, 0.0)]


def test_a_runner_of_another_model_is_left_alone(tmp_path):
    runner = toy_runner(tmp_path, dict(type='ToyClassifier'), iters=1)
    before = list(runner.hooks)
    runner.train()
    assert runner.hooks == before


@pytest.mark.parametrize('hooks', [dict(type='ovkd_mm.InitializationHook', iters=1), 'ovkd_mm.InitializationHook'])
def test_hooks_that_are_no_list_are_named(hooks):
    with pytest.raises(ValueError, match=r'method\.hooks must be a list of hook configs, dicts with a type; got '):
        MODELS.build(distiller_config(method=dict(METHOD, hooks=hooks)))


def test_two_methods_that_bring_one_hook_with_other_settings_are_refused(tmp_path):
    def trained(folder, iters):
        methods = [dict(METHOD, hooks=[dict(type='ovkd_mm.ConnectorWarmupHook', iters=n)]) for n in (1, iters)]
        toy_runner(tmp_path / folder, distiller_config(method=methods), iters=2).train()

    trained('same', 1)
    with pytest.raises(ValueError, match=r"bring .*'iters': 1.* and .*'iters': 5.*, of which a training can have one"):
        trained('other', 5)


def test_a_methods_hook_may_have_a_priority(tmp_path):
    method = dict(METHOD, hooks=[dict(type='ovkd_mm.InitializationHook', iters=1, priority='LOWEST')])
    runner = toy_runner(tmp_path, distiller_config(method=method), iters=1)
    runner.train()
    assert isinstance(runner.hooks[-1], InitializationHook)


@pytest.mark.parametrize('hook', [dict(iters=1), 'ovkd_mm.InitializationHook'])
def test_what_is_no_config_of_a_hook_is_named(hook):
    with pytest.raises(ValueError, match=r'method\.hooks must be a list of hook configs, dicts with a type; got \['):
        MODELS.build(distiller_config(method=dict(METHOD, hooks=[hook])))
