import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]


def test_our_configs_can_be_named_from_any_folder(tmp_path):
    script = 'import ovkd_mm; from mmengine.config import Config;print(Config.fromfile("mine.py").model.backbone.type)'
    (tmp_path / 'mine.py').write_text("_base_ = 'ovkd_mm::ssd300/ssd300_vgg16_voc0712.py'\n")
    result = subprocess.run([sys.executable, '-c', script], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout.strip() == 'SSDVGG', result.stderr


@pytest.mark.parametrize(
    'name', ['mmdet::pascal_voc/ssd300_voc0712.py', 'mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py']
)
def test_toolkits_configs_can_be_named(name):
    assert Config.fromstring(f'_base_ = {name!r}', '.py').model
