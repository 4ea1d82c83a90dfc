"""Export, in this process, of a toy's training; the real models' is part of each toolkit's end-to-end test."""

import errno
import os
import runpy
import shutil
import sys
from unittest import mock

import pytest
import torch
import toy
from command_line import ROOT, tool_commands
from mmengine.config import Config
from mmengine.model import BaseTTAModel
from mmengine.registry import DATASETS, MODELS


@pytest.fixture
def tool(tmp_path, monkeypatch, capsys):
    """Run a tool in the temporary folder; returns what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('LOCAL_RANK', '0')
    runs = iter(range(9))

    def run(name: str, *flags: str, status: int = 0) -> str:
        name_of_run = ['--cfg-options', f'experiment_name={tmp_path.name}-{next(runs)}']
        monkeypatch.setattr(sys, 'argv', [name, *flags, *name_of_run])
        if status:
            with pytest.raises(SystemExit) as end:
                runpy.run_path(str(ROOT / 'tools' / f'{name}.py'), run_name='__main__')
            assert end.value.code == status
        else:
            runpy.run_path(str(ROOT / 'tools' / f'{name}.py'), run_name='__main__')
        return ''.join(capsys.readouterr())

    return run


@pytest.fixture
def trained(tmp_path, tool):
    """A toy's distillation of two epochs in ``work``, gone on with after the first; its config is ``toy.py``."""
    loader = dict(
        dataset=dict(type='ToyImages'),
        sampler=dict(type='DefaultSampler', shuffle=False),
        batch_size=4,
        num_workers=0,
        collate_fn=dict(type='default_collate'),
    )
    config = Config(
        dict(
            model=toy.distiller_config(),
            train_dataloader=loader,
            test_dataloader=loader,
            test_cfg=dict(),
            test_evaluator=[],
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        )
    )
    config.dump(tmp_path / 'toy.py')
    tool('train', 'toy.py', '--work-dir', 'work')
    config.train_cfg.max_epochs = 2
    config.dump(tmp_path / 'toy.py')
    log = tool('train', 'toy.py', '--work-dir', 'work', '--resume')
    assert 'resumed epoch: 1' in log
    assert 'comes from a training with another' not in log
    return tmp_path


@pytest.mark.parametrize('config', ['toy.py', 'work/toy.py'])
def test_the_student_of_a_training_that_went_on_is_tested_by_the_command_that_the_export_prints(trained, tool, config):
    said = tool('export_student', config, 'work/epoch_2.pth', 'for use/student.pth')
    shutil.rmtree(trained / 'work')
    (command,) = tool_commands(said)
    assert 'Epoch(test) [2/2]' in tool(*command)
    assert not (trained / 'work').exists()


def test_where_nothing_tests_the_student_no_test_is_suggested(trained, tool):
    config = Config.fromfile(trained / 'toy.py')
    for name in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        config.pop(name, None)
    config.dump(trained / 'untested.py')
    said = tool('export_student', 'untested.py', 'work/epoch_2.pth', 'student.pth')
    assert 'wrote student.pth' in said and 'tools/test.py' not in said


def test_weights_alone_are_tested_with_the_config_that_a_training_left_behind(trained, tool):
    tool('export_student', 'toy.py', 'work/epoch_2.pth', 'student.pth')
    assert 'Epoch(test) [2/2]' in tool('test', 'work/toy.py', 'student.pth')


def test_the_config_inside_the_weights_is_the_plain_one(trained, tool):
    tool('export_student', 'toy.py', 'work/epoch_2.pth', 'student.pth')
    meta = torch.load('student.pth', weights_only=False)['meta']
    inside = Config.fromstring(meta['cfg'], file_format='.py')
    assert inside.model == dict(type='ToyClassifier')
    assert inside.to_dict() == Config.fromfile('student.py').to_dict()
    assert meta['epoch'] == 2


@MODELS.register_module()
class WeighsItsClasses(toy.ToyClassifier):
    """Writes into its settings, as mmdet's DETR does."""

    def __init__(self, loss):
        super().__init__()
        loss.class_weight = torch.tensor(loss.class_weight)


def test_what_a_student_writes_into_its_settings_stays_out_of_the_plain_config(trained, tool):
    student = dict(type='WeighsItsClasses', loss=dict(class_weight=[1.0, 0.1]))
    config = Config.fromfile('toy.py')
    config.model.student = student
    config.dump('toy.py')
    tool('export_student', 'toy.py', 'work/epoch_2.pth', 'student.pth')
    inside = Config.fromstring(torch.load('student.pth', weights_only=False)['meta']['cfg'], file_format='.py')
    assert Config.fromfile('student.py').model == inside.model == student


def test_a_full_disk_leaves_neither_half_a_student_nor_a_config_without_one(trained, tool, monkeypatch):
    before = sorted(trained.rglob('*'))
    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', mock.Mock(side_effect=OSError(errno.ENOSPC, 'No space left on device')))
        said = tool('export_student', 'toy.py', 'work/epoch_2.pth', 'student.pth', status=2)
    assert 'No space left on device' in said and 'student.py' in said
    assert sorted(trained.rglob('*')) == before
    assert 'wrote student.pth' in tool('export_student', 'toy.py', 'work/epoch_2.pth', 'student.pth')


@pytest.mark.parametrize('line', ['export_student work/epoch_2.pth toy.py student.pth', 'test work/epoch_2.pth toy.py'])
def test_config_and_checkpoint_swapped_are_put_right(trained, tool, line):
    before = sorted(trained.rglob('*'))
    said = tool(*line.split(), status=2)
    assert said == "error: 'toy.py' is a config where the checkpoint belongs; first comes CONFIG, then CHECKPOINT\n"
    assert sorted(trained.rglob('*')) == before


@DATASETS.register_module()
class MirroredToys(toy.ToyImages):
    """With a pipeline, as test-time augmentation sets it, each image and its mirror image."""

    def __init__(self, pipeline=None):
        super().__init__()
        self.pipeline = pipeline

    def __getitem__(self, index):
        item = super().__getitem__(index)
        if not self.pipeline:
            return item
        return dict(inputs=[item['inputs'], item['inputs'].flip(-1)], data_samples=[item['data_samples']] * 2)


@MODELS.register_module()
class SeenTwice(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        assert {len(samples) for samples in data_samples_list} == {2}
        return [first for first, _ in data_samples_list]


@pytest.mark.parametrize('exported', [False, True])
def test_time_augmentation_runs_on_a_distillation_and_on_its_student(trained, tool, exported):
    config = Config.fromfile('toy.py')
    config.test_dataloader.dataset = dict(type='MirroredToys')
    config.tta_model, config.tta_pipeline = dict(type='SeenTwice'), [dict(type='Mirror')]
    config.dump('toy.py')
    if exported:
        tool('export_student', 'toy.py', 'work/epoch_2.pth', 'student.pth')
    which = ('student.py', 'student.pth') if exported else ('toy.py', 'work/epoch_2.pth')
    assert 'Epoch(test) [2/2]' in tool('test', *which, '--tta')
    torch.save(dict(state_dict=toy.ToyClassifier(width=5).state_dict()), 'other.pth')
    assert 'does not fit the model ToyClassifier' in tool('test', which[0], 'other.pth', '--tta', status=2)
