import pytest
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS, MODELS
from toy import distiller_config

from ovkd_mm.compare.dry_validation import missing_metric


@METRICS.register_module(force=True)
class TwoFigures(BaseMetric):
    def __init__(self, nothing=False, **kwargs):
        super().__init__(**kwargs)
        self.nothing = nothing

    def process(self, data_batch, data_samples):
        self.results += list(data_samples)

    def compute_metrics(self, results):
        assert len(results) == 1
        return {} if self.nothing else dict(mIoU=1.0, aAcc=1.0)


def lack(key: str, *metrics: dict, **changes) -> str | None:
    loader = dict(
        dataset=dict(type='ToyImages'),
        sampler=dict(type='DefaultSampler', shuffle=False),
        batch_size=4,
        num_workers=2,
        persistent_workers=True,
        prefetch_factor=4,
        collate_fn=dict(type='default_collate'),
    )
    evaluator = [dict(type='TwoFigures', **metric) for metric in metrics]
    config = Config(dict(dict(model=distiller_config(), val_dataloader=loader, val_evaluator=evaluator), **changes))
    return missing_metric(key, config, MODELS.build(config.model))


@pytest.mark.parametrize('key', ['mIoU', 'aAcc'])
def test_a_metric_that_the_validation_gives_is_not_missed(key):
    assert lack(key, {}) is None
    assert lack(f'toy/{key}', {}, dict(prefix='toy')) is None


def test_one_that_it_does_not_give_is_answered_with_the_nearest():
    assert lack('mIuO', {}) == "metric='mIuO': the validation has no such metric; nearest: mIoU"
    assert 'nearest: toy/aAcc' in lack('toy/aAc', dict(prefix='toy'), dict(prefix='boy'))


def test_one_of_another_prefix_is_refused_without_looking_at_the_data():
    answer = lack('mIoU', dict(prefix='toy'), val_dataloader=dict(dataset='never built'))
    assert answer == "metric='mIoU': the validation has no such metric; it has toy/..."


def test_of_a_metric_that_gives_nothing_for_one_image_the_prefix_counts():
    assert lack('toy/typo', dict(prefix='toy', nothing=True)) is None


def test_an_evaluator_that_renames_metrics_is_not_looked_into():
    assert lack('voc_mIoU', {}, val_evaluator=dict(type='MultiDatasetsEvaluator', metrics=[])) is None
