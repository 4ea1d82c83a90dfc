import os
from pathlib import Path

import pytest
from mmengine.config import Config, ConfigDict

from ovkd_mm.config_files import buildable, explain_missing, read_config_file, student_of, without_pretrained

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('mine/ssd_cells.py', 'mine/ssd_streets.py', 'other/ssd_cells.py', 'toy.py'):
        Path(name).parent.mkdir(exist_ok=True)
        Config(dict(model=dict(type='Toy'))).dump(name)
    return tmp_path


@pytest.mark.parametrize(
    ('path', 'near'),
    [
        ('toi.py', 'toy.py'),
        ('toy', 'toy.py'),
        ('mine/ssd_cels.py', 'mine/ssd_cells.py'),
        ('mien/ssd_streets.py', 'mine/ssd_streets.py'),
        ('othr/ssd_cells.py', 'other/ssd_cells.py'),
        ('configs/ssd300/ssd300_vgg16_voc0712.py', f'{CONFIGS}/ssd300/ssd300_vgg16_voc0712.py'),
        ('_base_/methods/ofdd.py', f'{CONFIGS}/_base_/methods/ofd.py'),
    ],
)
def test_a_path_is_answered_with_its_folder_and_the_nearest_file(home, path, near):
    answer = explain_missing(path)
    assert answer.startswith(f'does not exist; looked for in {(home / path).parent}; nearest: {near}')


def test_without_anything_near_the_folder_is_all(home):
    assert explain_missing('zzz.py') == f'does not exist; looked for in {home}'


@pytest.mark.parametrize(
    ('name', 'near'),
    [
        ('ovkd_mm::ssd300/ssd300_vgg_voc0712.py', 'ovkd_mm::ssd300/ssd300_vgg16_voc0712.py'),
        ('mmdet::ssd300_coco.py', 'mmdet::ssd/ssd300_coco.py'),
        ('mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes.py', 'mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-'),
    ],
)
def test_a_name_is_answered_with_the_nearest_of_its_package(name, near):
    assert f'; nearest: {near}' in explain_missing(name)


def test_a_package_that_is_unknown_or_absent_is_named():
    assert explain_missing('mmdett::ssd/x.py') == 'names no package with configs; nearest: mmdet, mmdet3d, mmedit'
    assert explain_missing('mmrotate::gwd/x.py') == 'needs mmrotate, which is not installed'


def test_a_base_that_does_not_exist_is_told_from_what_else_a_config_may_lack(home):
    Path('a.py').write_text("_base_ = './b.py'")
    Path('b.py').write_text("_base_ = './mine/ssd_cels.py'")
    Path('c.py').write_text("classes = open('classes.txt').read()")
    with pytest.raises(
        FileNotFoundError, match=f"a config cannot be read: its _base_ '{home}/mine/ssd_cels.py' does not "
    ):
        read_config_file('a.py', 'a config')
    with pytest.raises(ValueError, match=r"a config cannot be read: FileNotFoundError: .*'classes\.txt'"):
        read_config_file('c.py', 'a config')


def test_what_exists_is_read_by_path_and_by_name(home):
    assert read_config_file('toy.py', 'a config').model.type == 'Toy'
    assert read_config_file('ovkd_mm::_base_/methods/ofd.py', 'a config').method.loss.type == 'ovkd_mm.PartialL2Loss'


def test_custom_imports_are_left_out_on_request(home):
    Path('imports.py').write_text("custom_imports = dict(imports=['no_such_module'], allow_failed_imports=False)")
    read_config_file('imports.py', 'a config', imports=False)
    with pytest.raises(ValueError, match='a config cannot be read: ImportError'):
        read_config_file('imports.py', 'a config')


def test_a_checkpoint_is_no_config(home):
    os.link('toy.py', 'toy.pth')
    with pytest.raises(ValueError, match=r'is not a config.*the config comes before the checkpoint'):
        read_config_file('toy.pth', 'a config')


def test_a_model_is_told_what_stands_beside_it():
    config = Config(dict(model=dict(type='Toy'), data_preprocessor=dict(mean=[1]), default_scope='mmdet'))
    assert buildable(config, 'it').model == dict(type='Toy', data_preprocessor=dict(mean=[1]), _scope_='mmdet')
    own = dict(type='Toy', data_preprocessor=dict(mean=[2]), _scope_='mmseg')
    config.model = own
    assert buildable(config, 'it').model == own


def test_a_student_brings_what_stands_beside_it_unless_it_has_its_own():
    beside = dict(type='FeatureDistiller', data_preprocessor=dict(type='Beside'), _scope_='mmseg')
    assert student_of(dict(beside, student=dict(type='Toy', _scope_='mmdet'))) == dict(
        type='Toy', _scope_='mmdet', data_preprocessor=dict(type='Beside')
    )
    student = dict(type='Toy')
    assert student_of(dict(beside, data_preprocessor=None, student=student)) == dict(type='Toy', _scope_='mmseg')
    assert student == dict(type='Toy')


def test_what_has_no_model_cannot_be_built():
    with pytest.raises(ValueError, match=r"^it has no key 'model'; it has \['seed'\]"):
        buildable(Config(dict(seed=1)), 'it')


def test_a_model_that_fetches_nothing_is_the_same_but_for_what_asks_the_network():
    model = dict(
        backbone=dict(type='TIMMBackbone', pretrained=True, out_indices=(1, 2)),
        parts=[dict(pretrained=True), dict(pretrained='torchvision://resnet18')],
    )
    found = without_pretrained(ConfigDict(model))
    assert found.backbone == dict(type='TIMMBackbone', pretrained=False, out_indices=(1, 2))
    assert found.parts == [dict(pretrained=False), dict(pretrained='torchvision://resnet18')]
    assert model['backbone']['pretrained'] is True
