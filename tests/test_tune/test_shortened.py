import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

from ovkd_mm.tune.shortened import shortened


@pytest.mark.parametrize(
    ('loop', 'part', 'length', 'every'),
    [
        (dict(by_epoch=True, max_epochs=80), 0.25, ('max_epochs', 20), 5),
        (dict(by_epoch=False, max_iters=1001), 0.1, ('max_iters', 100), 25),
        (dict(type='IterBasedTrainLoop', max_iters=3), 0.1, ('max_iters', 1), 1),
    ],
)
def test_a_part_of_the_schedule_is_validated_and_saved_after_each_quarter(loop, part, length, every):
    whole = Config(dict(train_cfg=loop, default_hooks=dict(checkpoint=dict(interval=1))))
    short = shortened(whole, part)
    assert (short.train_cfg[length[0]], short.train_cfg.val_interval) == (length[1], every)
    assert short.default_hooks.checkpoint.interval == every
    assert 'val_interval' not in whole.train_cfg


def rates(config: Config) -> list[float]:
    """The rate of each epoch, as a runner would have it."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    length, found = config.train_cfg.max_epochs, []
    schedulers = [
        PARAM_SCHEDULERS.build(dict(dict(end=length) | one), default_args=dict(optimizer=optimizer))
        for one in config.param_scheduler
    ]
    for _ in range(length):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return found


@pytest.mark.parametrize(
    'schedulers',
    [
        [dict(type='MultiStepLR', milestones=[40, 60])],
        [dict(type='StepLR', step_size=20, gamma=0.5)],
        [dict(type='MultiStepLR', milestones=[20], end=40), dict(type='StepLR', step_size=20, begin=40)],
        dict(type='StepLR', step_size=40, end=60),
        [dict(type='StepLR', step_size=1, gamma=0.98)],  # mmpretrain's schedule of MobileNetV2
        [dict(type='StepLR', step_size=2)],
        [dict(type='ExponentialLR', gamma=0.9)],
        [dict(type='mmengine.ExponentialLR', gamma=0.9)],
    ],
    ids=lambda schedulers: 'alone' if isinstance(schedulers, dict) else schedulers[-1]['type'],
)
def test_the_rates_of_a_part_are_those_of_the_whole_in_fewer_steps(schedulers):
    whole = Config(dict(train_cfg=dict(by_epoch=True, max_epochs=80), param_scheduler=schedulers))
    short = shortened(whole, 0.25)
    if isinstance(schedulers, dict):
        whole.param_scheduler = [schedulers]
    assert rates(short) == pytest.approx(rates(whole)[::4])


def test_every_time_of_a_scheduler_is_shortened_in_epochs_and_in_iterations():
    whole = [
        dict(type='LinearLR', begin=0, end=500, by_epoch=False),
        dict(type='CosineAnnealingLR', begin=10, end=1e3, T_max=990, convert_to_iter_based=True),
        dict(type='OneCycleLR', total_steps=1000, eta_max=0.1),
        dict(type='CosineRestartLR', periods=[600, 400], restart_weights=[1, 0.5], eta_min=0),
        dict(type='MultiStepLR', milestones=[600, 800, 801, 802], gamma=0.1),
    ]
    short = shortened(Config(dict(train_cfg=dict(max_epochs=1000), param_scheduler=whole)), 0.1)
    assert short.param_scheduler == [
        dict(whole[0], end=50),
        dict(whole[1], begin=1, end=100, T_max=99),
        dict(whole[2], total_steps=100),
        dict(whole[3], periods=[60, 40]),
        dict(whole[4], milestones=[60, 80]),
    ]
    several = shortened(
        Config(dict(train_cfg=dict(max_iters=1000), param_scheduler=dict(one=whole[0], two=whole[3:]))), 0.1
    )
    assert several.param_scheduler == dict(one=short.param_scheduler[:1], two=short.param_scheduler[3:])


def test_a_time_stays_at_one_or_more_and_what_has_none_left_falls_away():
    schedulers = [
        dict(type='LinearLR', end=5),
        dict(type='CosineAnnealingLR', begin=5, end=8),
        dict(type='PolyLR', begin=8, by_epoch=False),
        dict(type='ConstantLR', begin=8),
    ]
    whole = Config(dict(train_cfg=dict(max_epochs=20), param_scheduler=schedulers))
    assert shortened(whole, 0.05).param_scheduler == [dict(type='LinearLR', end=1), dict(schedulers[2], begin=1)]
    assert [one.get('begin') for one in shortened(whole, 0.1).param_scheduler] == [None, 1, 1]
    assert whole.param_scheduler == schedulers


def test_the_stages_of_hooks_are_shortened_and_their_intervals_are_not():
    whole = [
        dict(type='ovkd_mm.ConnectorWarmupHook', iters=1000),
        dict(type='ovkd_mm.DistillScheduleHook', schedule='cosine', length=2.5, stop_at=60.0),
        dict(type='ovkd_mm.FeatureVisualizationHook', interval=50),
        dict(type='YOLOXModeSwitchHook', num_last_epochs=15),
        dict(type='EMAHook', begin_epoch=0),
    ]
    method = dict(hooks=[dict(type='ovkd_mm.InitializationHook', epochs=10)])
    config = Config(dict(model=dict(method=method), train_cfg=dict(max_epochs=80), custom_hooks=whole))
    short = shortened(config, 0.1)
    assert short.custom_hooks == [
        dict(whole[0], iters=100),
        dict(whole[1], length=0.25, stop_at=6),
        whole[2],
        dict(whole[3], num_last_epochs=2),
        whole[4],
    ]
    assert short.model.method.hooks[0].epochs == 1
    assert config.model.method.hooks[0].epochs == 10


def test_the_stages_of_each_of_several_methods_are_shortened():
    methods = [dict(hooks=[dict(type='ovkd_mm.InitializationHook', epochs=10)]), dict(), 'ofd']
    config = Config(dict(model=dict(method=methods), train_cfg=dict(max_epochs=80)))
    assert shortened(config, 0.1).model.method == [dict(hooks=[dict(methods[0]['hooks'][0], epochs=1)]), {}, 'ofd']


def test_a_part_in_iterations_has_the_iterations_of_its_validations_and_no_others_than_the_quarters():
    loop = dict(by_epoch=False, max_iters=100, dynamic_intervals=[(50, 1)])
    hooks = dict(checkpoint={}, logger=dict(type='LoggerHook', interval=7))
    short = shortened(Config(dict(train_cfg=loop, default_hooks=hooks)), 0.5)
    assert 'dynamic_intervals' not in short.train_cfg
    assert short.default_hooks.logger == dict(type='LoggerHook', interval=7, log_metric_by_epoch=False)


def test_a_config_without_hooks_is_saved_and_logged_all_the_same():
    short = shortened(Config(dict(train_cfg=dict(max_iters=40), default_hooks=None)), 1.0)
    assert short.default_hooks.checkpoint == dict(type='CheckpointHook', by_epoch=False, interval=10, max_keep_ckpts=1)
    assert short.default_hooks.logger == dict(type='LoggerHook', log_metric_by_epoch=False)


def test_a_config_without_a_schedule_is_refused():
    with pytest.raises(ValueError, match='train_cfg=None has no max_epochs or max_iters'):
        shortened(Config(dict(train_cfg=None)), 0.5)


@pytest.mark.parametrize(
    ('hooks', 'part', 'said'),
    [
        ([dict(type='ovkd_mm.ConnectorWarmupHook', epochs=1)], 0.1, 'of 1 epochs .* ConnectorWarmupHook takes 1'),
        ([dict(type='InitializationHook', epochs=5)], 0.1, 'of 1 epochs .* InitializationHook takes 1'),
        (
            [dict(type='ConnectorWarmupHook', epochs=1), dict(type='DistillScheduleHook', stop_at=3)],
            0.3,
            'of 1 epochs .* ConnectorWarmupHook takes 1',
        ),
    ],
)
def test_a_part_without_time_for_what_comes_after_the_first_stage_is_refused(hooks, part, said):
    whole = Config(dict(train_cfg=dict(max_epochs=12), custom_hooks=hooks))
    with pytest.raises(ValueError, match=f'--part is too small: {said}'):
        shortened(whole, part)
    shortened(whole, 1.0)
