"""Values that no training can have, named with their keys before torch or Python fails on them."""

import logging

from mmengine.config import Config

__all__ = ['check_values']

# The least of each, where the config has it.
LEAST = {
    'train_cfg.max_epochs': 1,
    'train_cfg.max_iters': 1,
    'train_cfg.val_interval': 1,
    'randomness.seed': 0,
    **{f'{part}_dataloader.batch_size': 1 for part in ('train', 'val', 'test')},
    **{f'{part}_dataloader.num_workers': 0 for part in ('train', 'val', 'test')},
}


def check_values(config: Config) -> None:
    """Refuse impossible numbers, milestones that are none and unknown log levels.

    Args:
        config: With all its options.

    Raises:
        ValueError: If there is one.
    """
    for key, least in LEAST.items():
        folder, name = key.split('.')
        settings = config.get(folder)
        value = settings.get(name) if isinstance(settings, dict) else None
        if folder == 'train_cfg' and isinstance(value, float) and value.is_integer():
            value = int(value)  # as mmengine takes 4e4
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise ValueError(f'{key} must be a whole number from {least} up, got {value!r}')
    for key in ('env_cfg', 'randomness'):
        if key in config and config[key] is None:
            raise ValueError(f'{key} must be a dict, got None; leave it out for the default')
    schedulers = config.get('param_scheduler') or []
    for index, scheduler in enumerate(schedulers if isinstance(schedulers, list) else [schedulers]):
        milestones = scheduler.get('milestones', []) if isinstance(scheduler, dict) else []
        if not isinstance(milestones, (list, tuple)) or not all(isinstance(one, (int, float)) for one in milestones):
            raise ValueError(f'param_scheduler[{index}].milestones must be a list of numbers, got {milestones!r}')
    level = config.get('log_level')
    if isinstance(level, str) and not isinstance(logging.getLevelName(level), int):
        levels = ', '.join(map(logging.getLevelName, range(logging.DEBUG, logging.CRITICAL + 1, 10)))
        raise ValueError(f'log_level must be one of {levels}, got {level!r}')
