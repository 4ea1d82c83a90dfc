import errno
import os
from pathlib import Path
from unittest import mock

import pytest
from mmengine.hooks import CheckpointHook, Hook, checkpoint_hook
from toy import toy_runner

from ovkd_mm.checkpoints.checkpoint_hook import patch


class Scores(Hook):
    """Stands for a validation after each epoch."""

    def __init__(self, hook: CheckpointHook, scores: list[float]) -> None:
        self.hook = hook
        self.scores = iter(scores)

    def before_train_epoch(self, runner):
        if runner.epoch:
            self.hook.after_val_epoch(runner, dict(accuracy=next(self.scores)))


def train(folder: Path, scores=(), at_save=lambda name: None, epochs=3, others=(), **settings) -> dict[str, list[str]]:
    """Train, and tell what checkpoints were there when each was saved (the last time, if twice)."""
    hook = CheckpointHook(interval=1, **settings)
    runner = toy_runner(folder, epochs=epochs)
    for one in (hook, *others):
        runner.register_hook(one)
    if scores:
        runner.register_hook(Scores(hook, scores))
    there, save = {}, runner.save_checkpoint

    def look(out_dir, filename, *args, **kwargs):
        there[filename] = files(folder)
        at_save(filename)
        save(out_dir, filename, *args, **kwargs)

    runner.save_checkpoint = look
    runner.train()
    return there


class Folders(Hook):
    """Makes folders of the checkpoints, as a sharded training writes them."""

    def before_train_epoch(self, runner):
        for file in Path(runner.work_dir).glob('*.pth'):
            if file.is_file():
                file.unlink()
                file.mkdir()
                (file / 'shard').touch()


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob('*.pth'))


def test_an_old_checkpoint_is_there_until_the_next_is(tmp_path):
    assert train(tmp_path, max_keep_ckpts=1) == {
        'epoch_1.pth': [],
        'epoch_2.pth': ['epoch_1.pth'],
        'epoch_3.pth': ['epoch_2.pth'],
    }
    assert files(tmp_path) == ['epoch_3.pth']


def test_an_old_folder_of_shards_is_there_until_the_next_checkpoint_is(tmp_path):
    assert train(tmp_path, others=[Folders()], max_keep_ckpts=1)['epoch_3.pth'] == ['epoch_2.pth']
    assert files(tmp_path) == ['epoch_3.pth']


def test_a_checkpoint_that_takes_the_place_of_the_old_one_stays(tmp_path):
    train(tmp_path, epochs=2, max_keep_ckpts=1, filename_tmpl='newest.pth')
    assert files(tmp_path) == ['newest.pth']


def test_as_many_are_kept_as_were_asked_for(tmp_path):
    train(tmp_path, max_keep_ckpts=2)
    assert files(tmp_path) == ['epoch_2.pth', 'epoch_3.pth']


def test_the_old_best_one_is_there_until_a_checkpoint_names_the_new_one(tmp_path):
    there = train(tmp_path, scores=[0.1, 0.2], max_keep_ckpts=1, save_best='accuracy')
    assert there['best_accuracy_epoch_2.pth'] == ['best_accuracy_epoch_1.pth', 'epoch_2.pth']
    # Saved once more, with the name of the best one.
    assert there['epoch_2.pth'] == ['best_accuracy_epoch_1.pth', 'best_accuracy_epoch_2.pth', 'epoch_2.pth']
    assert files(tmp_path) == ['best_accuracy_epoch_2.pth', 'epoch_3.pth']


@pytest.mark.parametrize('name', ['epoch_2.pth', 'best_accuracy_epoch_2.pth'])
def test_a_save_that_fails_costs_nothing(tmp_path, name):
    def full(filename):
        if filename == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match='No space left'):
        train(tmp_path, [0.1, 0.2], full, max_keep_ckpts=1, save_best='accuracy')
    kept = ['best_accuracy_epoch_1.pth', 'epoch_1.pth' if name == 'epoch_2.pth' else 'epoch_2.pth']
    assert files(tmp_path) == kept


def test_a_hook_whose_save_failed_removes_files_again(tmp_path, monkeypatch):
    hook, runner = CheckpointHook(interval=1), toy_runner(tmp_path, epochs=1)
    runner.register_hook(hook)
    with monkeypatch.context() as patch, pytest.raises(OSError, match='full'):
        patch.setattr(runner, 'save_checkpoint', mock.Mock(side_effect=OSError('full')))
        runner.train()
    (tmp_path / 'old.pth').touch()
    hook.file_backend.remove(str(tmp_path / 'old.pth'))
    assert files(tmp_path) == []


@pytest.mark.parametrize('save_best', ['accuracy', ['accuracy', 'top1']], ids=str)
def test_what_was_just_saved_is_not_removed_as_the_old_one(tmp_path, save_best):
    hook = CheckpointHook(interval=1, save_best=save_best, rule='greater', max_keep_ckpts=1)
    runner = toy_runner(tmp_path)
    runner.register_hook(hook)
    runner.train()
    for score in (0.1, 0.2):  # as where a training is resumed and validates at the same epoch
        hook.after_val_epoch(runner, dict(accuracy=score, top1=score))
    best = [save_best] if isinstance(save_best, str) else save_best
    assert files(tmp_path) == [*(f'best_{name}_epoch_2.pth' for name in best), 'epoch_2.pth']


def test_mending_again_changes_nothing():
    methods = CheckpointHook._save_checkpoint_with_step, CheckpointHook._save_best_checkpoint
    patch(checkpoint_hook)
    assert methods == (CheckpointHook._save_checkpoint_with_step, CheckpointHook._save_best_checkpoint)
