import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from ovkd_mm.compat import config_names
from ovkd_mm.config_files import model_of

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


def test_metafiles_are_not_read_for_a_config_that_lies_in_the_folder(monkeypatch):
    def parse(*_):
        raise AssertionError('metafiles are read')

    monkeypatch.setattr('mmengine.config.utils._get_cfg_metainfo', parse)
    base = "_base_ = 'mmdet::pascal_voc/{}.py'"
    found, _ = Config._get_cfg_path('mmdet::pascal_voc/ssd300_voc0712.py', '')
    assert Path(found).parts[-4:] == ('.mim', 'configs', 'pascal_voc', 'ssd300_voc0712.py')
    assert Config.fromstring(base.format('ssd300_voc0712'), '.py').model
    with pytest.raises(AssertionError, match='metafiles are read'):
        Config.fromstring(base.format('no_such'), '.py')


def test_a_name_that_no_package_has_is_an_error():
    with pytest.raises(FileNotFoundError, match='no_such'):
        Config.fromstring("_base_ = 'mmdet::pascal_voc/no_such.py'", '.py')


def test_of_a_fork_the_module_tells_where_the_configs_are(tmp_path):
    """A fork's mmseg has a distribution of another name, and here there is none at all."""
    configs = tmp_path / 'mmseg' / '.mim' / 'configs'
    (configs / 'own').mkdir(parents=True)
    (configs / 'own' / 'mine.py').write_text('value = 7\n')
    (tmp_path / 'mmseg' / '.mim' / 'model-index.yml').write_text('Import: []\n')
    (tmp_path / 'mmseg' / '__init__.py').touch()
    code = 'import ovkd_mm; from mmengine.config import Config\n'
    code += 'print(Config.fromstring("_base_ = \'mmseg::own/mine.py\'", ".py").value)'
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    result = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True)
    assert result.stdout == '7\n', result.stderr


@pytest.mark.parametrize(('found', 'name'), [(object(), 'mmseg'), (None, 'mmsegmentation')])
def test_where_there_is_no_mmseg_its_distribution_is_asked_for(found, name, monkeypatch):
    monkeypatch.setattr(config_names, 'find_spec', dict(mmseg=found).get)
    names = dict(mmdet='mmdet', mmseg='mmsegmentation')
    config_names.patch(types.SimpleNamespace(MODULE2PACKAGE=names))
    assert names == dict(mmdet='mmdet', mmseg=name, ovkd_mm='ovkd_mm.version')


@pytest.mark.parametrize(
    'name',
    [
        'cifar10/wrn16-2_cifar10.py',
        'imagenet/mobilenet-v1_imagenet.py',
        'ssd300/ssdlite300_mobilenet-v1_voc0712.py',
        'deeplabv3plus/deeplabv3plus_mobilenet-v2_voc12aug-513.py',
    ],
)
def test_a_model_of_ours_that_is_named_as_a_base_is_built_by_its_toolkit(tmp_path, name):
    (tmp_path / 'mine.py').write_text(f"_base_ = 'ovkd_mm::{name}'\n")
    config = Config.fromfile(tmp_path / 'mine.py')
    init_default_scope(config.default_scope)
    model = model_of(config)
    assert model.get('_scope_') in (None, config.default_scope)  # of a toolkit's base, if of any
    model['backbone']['init_cfg'] = None  # no download
    assert MODELS.build(model).training
