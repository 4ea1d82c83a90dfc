"""How fast a config's data loader is."""

import time

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

__all__ = ['images_per_second']


def images_per_second(config: Config, batch_size: int, batches: int = 20) -> float:
    """Images that the training's loader hands over in a second, with the workers that the config gives it.

    Args:
        config: A training config.
        batch_size: Images of a batch.
        batches: How many to wait for.

    Raises:
        FileNotFoundError: If the data are not there.
    """
    init_default_scope(config.get('default_scope') or 'mmengine')
    loader = config.train_dataloader.copy()
    loader['batch_size'] = batch_size
    source = iter(Runner.build_dataloader(loader, seed=0))
    next(source)  # while the workers start
    start, seen = time.perf_counter(), 0
    for _, batch in zip(range(batches), source, strict=False):  # in this order: no batch more is waited for
        seen += len(batch['inputs'])
    return seen / (time.perf_counter() - start)
