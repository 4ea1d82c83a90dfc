"""What ``tools/train.py`` says and refuses, in this process."""

import runpy
import sys

import pytest
import torch
import toy
from command_line import ROOT
from mmengine.config import Config

from ovkd_mm.report.history import read_history


@pytest.fixture
def train(tmp_path, monkeypatch, capsys):
    """Run the tool on a toy; returns what this run logged."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    config = Config(
        dict(
            model=toy.distiller_config(),
            train_dataloader=dict(
                dataset=dict(type='ToyImages'),
                sampler=dict(type='DefaultSampler', shuffle=True),
                batch_size=4,
                num_workers=0,
                collate_fn=dict(type='default_collate'),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=2),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            work_dir=str(tmp_path / 'work'),
        )
    )
    config.dump(tmp_path / 'config.py')
    runs = iter(range(9))

    def run(*flags: str, **options) -> str:
        options['experiment_name'] = f'{tmp_path.name}-{next(runs)}'
        changes = [f'{key.replace("__", ".")}={value}' for key, value in options.items()]
        command = ['train.py', str(tmp_path / 'config.py'), *flags, '--cfg-options', *changes]
        monkeypatch.setattr(sys, 'argv', command)
        runpy.run_path(str(ROOT / 'tools' / 'train.py'), run_name='__main__')
        return capsys.readouterr().out

    return run


def test_a_training_begins_ends_and_goes_on_with_the_same_command(train, tmp_path):
    assert 'the training starts from the beginning' in train('--resume')

    last = tmp_path / 'work' / 'epoch_2.pth'
    saved = last.read_bytes()
    log = train('--resume')
    assert 'resumed epoch: 2, iter: 4' in log
    assert 'is skipped' not in log
    assert last.read_bytes() == saved

    last.write_bytes(saved[:-9])
    train('--resume', train_cfg__max_epochs=3)
    log = max(last.parent.rglob('*.log')).read_text()
    assert 'WARNING - epoch_2.pth is skipped' in log
    assert 'resumed epoch: 1' in log
    assert last.with_name('epoch_3.pth').is_file()


@pytest.mark.parametrize('flags', [(), ('--channels-last',)])
def test_channels_last_is_how_weights_lie_in_memory(train, tmp_path, monkeypatch, flags):
    laid_out = []
    forward = toy.ToyClassifier.forward

    def watched(model, *args, **kwargs):
        laid_out.append(model.backbone.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last))
        return forward(model, *args, **kwargs)

    monkeypatch.setattr(toy.ToyClassifier, 'forward', watched)
    train(*flags)
    assert laid_out[-1] is bool(flags)


def test_what_the_config_says_of_resuming_counts_as_the_flag_does(train, tmp_path):
    train()
    assert 'resumed epoch: 2' in train(resume=True)
    assert 'resumed epoch: 1' in train(resume=True, load_from=tmp_path / 'work' / 'epoch_1.pth')


def test_auto_scale_lr_scales_the_rate_to_the_batch(train, tmp_path):
    train(
        '--auto-scale-lr',
        auto_scale_lr__base_batch_size=8,
        default_hooks__logger__type='LoggerHook',
        default_hooks__logger__interval=1,
    )
    assert {entry['lr'] for entry in read_history(tmp_path / 'work') if 'lr' in entry} == {0.05}
