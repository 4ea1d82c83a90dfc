"""A config that the tool writes trains as it is."""

import pytest
from command_line import as_options, run_tool
from image_folder import loader_options, write_images
from mmengine.config import Config

STUDENT = """_base_ = 'mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py'
pipeline = [
    dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop', scale=64), dict(type='PackInputs')]
model = dict(backbone=dict(widen_factor=0.25), head=dict(num_classes=2, topk=1))
data_preprocessor = dict(num_classes=2)
train_dataloader = dict(
    dataset=dict(_delete_=True, type='CustomDataset', data_root='', data_prefix='train', pipeline=pipeline))
val_cfg = val_dataloader = val_evaluator = test_cfg = test_dataloader = test_evaluator = None
"""


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp('home')
    write_images(home / 'images', ('cup', 'fork'), 2)
    (home / 'student.py').write_text(STUDENT)
    return home


def test_the_written_config_trains_for_a_step(home):
    teacher = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
    said = run_tool('positions', 'student.py', teacher, '--write', 'new.py', '--svg', cwd=home)
    assert 'input 64x64 (RandomResizedCrop scale=64)' in said
    assert 'method ofd_cifar' in said
    assert len((home / 'new.py').read_text().splitlines()) <= 15
    assert Config.fromfile(home / 'new.py').model.input_shape == (64, 64)

    options = loader_options(home / 'images', batch_size=4)
    options = {key: value for key, value in options.items() if key.startswith('train_dataloader')}
    options |= {'train_cfg.max_epochs': 1, 'default_hooks.logger.interval': 1}
    command = ('train', 'new.py', '--work-dir', 'work', '--cfg-options', *as_options(options))
    refused = run_tool(*command, fails=True, cwd=home)
    assert 'teacher.checkpoint is not set' in refused
    log = run_tool(*command, 'model.teacher.allow_random=True', cwd=home)
    assert 'loss_distill_3' in log
    assert (home / 'work/epoch_1.pth').exists()
