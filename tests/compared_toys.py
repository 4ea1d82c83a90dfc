"""A distillation of toys that the tools train in processes of their own, which import this file."""

import os
from pathlib import Path

import pytest
from command_line import ROOT
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from toy import distiller_config


@METRICS.register_module(force=True)
class ComparedAccuracy(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [int(a == b) for a, b in zip(data_samples, data_batch['data_samples'], strict=True)]

    def compute_metrics(self, results):
        return dict(accuracy=100 * sum(results) / len(results))


def write_base(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the config, and let processes find this file."""
    loader = dict(
        dataset=dict(type='ToyImages', size=40), batch_size=4, num_workers=0, collate_fn=dict(type='default_collate')
    )
    config = dict(
        custom_imports=dict(imports=[Path(__file__).stem], allow_failed_imports=False),
        model=distiller_config(logits=[dict(student='fc', teacher='fc')]),
        train_dataloader=dict(sampler=dict(type='DefaultSampler', shuffle=True), **loader),
        val_dataloader=dict(sampler=dict(type='DefaultSampler', shuffle=False), **loader),
        val_evaluator=[dict(type='ComparedAccuracy')],
        train_cfg=dict(by_epoch=True, max_epochs=5),
        val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', interval=1, save_best='accuracy'),
        ),
    )
    Config(config).dump(path)
    paths = [str(ROOT / 'tests'), *filter(None, [os.environ.get('PYTHONPATH')])]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(paths))
