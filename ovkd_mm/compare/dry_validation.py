"""Finding out before a training whether its validation will have a metric."""

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from mmengine.runner import Runner

from ..nearest import nearest

__all__ = ['missing_metric']


def missing_metric(key: str, config: Config, model: BaseModel) -> str | None:
    """Validate the untrained model on one image, to see what the metrics are called.

    A metric that returns nothing for one image (COCO's if nothing is detected) is known by its prefix alone, so a
    mistake in the rest of its key is not found. Evaluators that rename their metrics are not looked into.

    Args:
        key: Of the metric.
        config: Of the training, with a validation; its default scope is set.
        model: Of the config.

    Returns:
        What to tell if there will be no such metric.
    """
    if 'metrics' in config.val_evaluator:
        return None
    metrics = Evaluator(config.val_evaluator).metrics
    candidates = [one for one in metrics if one.prefix is None or key.startswith(f'{one.prefix}/')]
    if not candidates:
        known = ', '.join(f'{one.prefix}/...' for one in metrics)
        return f'metric={key!r}: the validation has no such metric; it has {known}'
    loader = Runner.build_dataloader(_in_this_process(config.val_dataloader))
    evaluator = Evaluator(candidates)
    evaluator.dataset_meta = getattr(loader.dataset, 'metainfo', None)
    batch = next(iter(loader))
    model.eval()
    with torch.no_grad():
        evaluator.process(model.val_step(batch), batch)
    found = [list(one.evaluate(1)) for one in candidates]
    names = [name for names in found for name in names]
    if key in names or not all(found):
        return None
    return f'metric={key!r}: the validation has no such metric{nearest(key, names)}'


def _in_this_process(loader: dict) -> dict:
    """The settings of a loader, for one image at a time."""
    kept = {key: value for key, value in loader.items() if key not in ('prefetch_factor', 'batch_sampler')}
    return kept | dict(batch_size=1, num_workers=0, persistent_workers=False)
