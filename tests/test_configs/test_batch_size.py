"""What the batch of a config says elsewhere."""

from pathlib import Path

import pytest
from mmengine.config import Config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
# Not mmseg's own pair, which has no base batch as mmseg's configs have none: --auto-scale-lr is refused there.
TRAINABLE = sorted(
    path for path in CONFIGS.glob('*/*.py') if path.parent.name != '_base_' and '_4xb2-' not in path.name
)


@pytest.mark.parametrize('path', TRAINABLE, ids=lambda path: path.stem)
def test_auto_scale_lr_leaves_the_rate_at_the_batch_of_the_config(path):
    config = Config.fromfile(path)
    assert config.auto_scale_lr.base_batch_size == config.train_dataloader.batch_size
