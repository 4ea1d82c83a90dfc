"""What the batch of a config says elsewhere."""

import re
from pathlib import Path

import pytest
from mmengine.config import Config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
TRAINABLE = sorted(path for path in CONFIGS.glob('*/*.py') if path.parent.name != '_base_')


@pytest.mark.parametrize('path', TRAINABLE, ids=lambda path: path.stem)
def test_auto_scale_lr_leaves_the_rate_at_the_batch_that_the_config_is_for(path):
    config = Config.fromfile(path)
    gpus = re.search(r'_(\d+)xb\d+', path.stem)  # as the toolkits' names say it; one where a name does not
    assert config.auto_scale_lr.base_batch_size == int(gpus[1] if gpus else 1) * config.train_dataloader.batch_size
