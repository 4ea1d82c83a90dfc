import pytest
from mmengine.config import Config

from ovkd_mm.launch.cli import read_config
from ovkd_mm.launch.config_values import check_values


def of(key, value):
    settings = Config()
    settings.merge_from_dict({key: value})
    return settings


@pytest.mark.parametrize(
    ('key', 'least'),
    {
        'train_dataloader.batch_size': 1,
        'test_dataloader.batch_size': 1,
        'val_dataloader.num_workers': 0,
        'train_cfg.max_epochs': 1,
        'train_cfg.max_iters': 1,
        'train_cfg.val_interval': 1,
        'randomness.seed': 0,
    }.items(),
)
def test_a_number_is_taken_from_its_least_on_and_refused_below(key, least):
    check_values(of(key, least))
    for wrong in (least - 1, 'x', 2.5, True):
        with pytest.raises(ValueError, match=rf'^{key} must be a whole number from {least} up, got {wrong!r}$'):
            check_values(of(key, wrong))


def test_a_schedule_may_be_a_whole_float_as_in_mmengine_and_a_seed_none():
    check_values(Config(dict(train_cfg=dict(max_iters=4e4), randomness=dict(seed=None), test_cfg=None)))


@pytest.mark.parametrize('key', ['env_cfg', 'randomness'])
def test_none_is_no_dict(key):
    with pytest.raises(ValueError, match=f'{key} must be a dict, got None; leave it out'):
        check_values(Config({key: None}))


def test_milestones_are_a_list_of_numbers():
    scheduler = dict(type='MultiStepLR', milestones=[1, 2.5])
    for schedulers in ([scheduler], scheduler, dict(generator=[scheduler]), None, [dict(type='LinearLR')]):
        check_values(Config(dict(param_scheduler=schedulers)))
    for wrong in ('abc', 3, ['abc']):
        with pytest.raises(ValueError, match=r'^param_scheduler\[1\]\.milestones must be a list of numbers, got '):
            check_values(Config(dict(param_scheduler=[scheduler, dict(type='MultiStepLR', milestones=wrong)])))


def test_a_log_level_is_one_of_pythons():
    check_values(Config(dict(log_level='WARNING')))
    with pytest.raises(ValueError, match="log_level must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, got 'foo'"):
        check_values(Config(dict(log_level='foo')))


def test_options_of_the_command_line_are_checked_too(tmp_path):
    (tmp_path / 'config.py').write_text("model = dict(type='LeNet5')\ntrain_dataloader = dict(batch_size=2)\n")
    with pytest.raises(ValueError, match=r'train_dataloader\.batch_size must be .* got 0'):
        read_config(tmp_path / 'config.py', {'train_dataloader.batch_size': 0})
