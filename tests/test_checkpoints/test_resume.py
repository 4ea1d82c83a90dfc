import fcntl
import os
import random
import socket
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from ovkd_mm.checkpoints.resume import NEEDED, prepare_resume

FIT = [dict(type='ovkd_mm.CheckpointFitHook', needed=NEEDED)]


def save(path: Path, seed: int = 7, **changes) -> Path:
    """A checkpoint with what upstream's resuming asks for."""
    content = dict(state_dict=dict(a=torch.ones(9)), optimizer={}, message_hub={}, meta=dict(seed=seed)) | changes
    torch.save({key: value for key, value in content.items() if value is not None}, path)
    (path.parent / 'last_checkpoint').write_text(str(path))
    return path


def cut(path: Path, size: int = 100) -> Path:
    path.write_bytes(path.read_bytes()[:size])
    return path


def config(work_dir: Path, **changes) -> Config:
    return Config(dict(work_dir=str(work_dir), load_from='pretrained.pth') | changes)


def resumed(work_dir: Path, **changes) -> tuple[str | None, list[str]]:
    """What ``--resume`` resumes from, ``None`` if it starts from the beginning, and what it says."""
    cfg = config(work_dir, **changes)
    notes = prepare_resume(cfg)
    assert cfg.get('custom_hooks', []) == (FIT if cfg.resume else [])
    if not cfg.resume:
        assert cfg.load_from == 'pretrained.pth'
        return None, notes
    return Path(cfg.load_from).name, notes


def test_the_newest_is_taken_without_a_word(tmp_path):
    for epoch in (1, 2, 9, 10):
        save(tmp_path / f'epoch_{epoch}.pth')
    save(tmp_path / 'best_mIoU_epoch_11.pth', optimizer=None)
    assert resumed(tmp_path) == ('epoch_10.pth', [])


@pytest.mark.parametrize('size', [0, 1, 100, -1])
def test_one_that_is_cut_short_is_named_and_left_alone_and_the_one_before_is_taken(tmp_path, size):
    for epoch in (1, 2, 3):
        half = save(tmp_path / f'epoch_{epoch}.pth')
    data = cut(half, size).read_bytes()
    name, (why, instead) = resumed(tmp_path)
    assert name == 'epoch_2.pth'
    assert why.startswith('epoch_3.pth is skipped: ')
    assert 'cannot be read as a checkpoint' in why
    assert instead == 'taking epoch_2.pth, the newest checkpoint that is whole'
    assert half.read_bytes() == data


def test_a_save_that_was_cut_off_is_spoken_of(tmp_path):
    left = tmp_path / f'.epoch_2.pth.{socket.gethostname()}.0123abcd.unfinished'
    left.touch()
    with left.open('rb') as file:  # another process is saving
        fcntl.flock(file, fcntl.LOCK_EX)
        assert len(resumed(tmp_path)[1]) == 1
    name, (cut_off, beginning) = resumed(tmp_path)
    assert name is None
    assert cut_off.startswith(f'the last save was cut off; {left.name!r} is left of it')
    assert 'from the beginning' in beginning

    save(tmp_path / 'epoch_1.pth')
    assert resumed(tmp_path) == (
        'epoch_1.pth',
        [cut_off, 'taking epoch_1.pth, the newest checkpoint that is whole'],
    )


def test_where_all_are_cut_short_the_training_starts_from_the_beginning(tmp_path):
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        cut(save(tmp_path / name))
    name, notes = resumed(tmp_path)
    assert name is None
    assert [note.split(':')[0] for note in notes[:2]] == ['epoch_2.pth is skipped', 'epoch_1.pth is skipped']
    assert notes[2] == f'no checkpoint in {str(tmp_path)!r} to resume from: the training starts from the beginning'


@pytest.mark.parametrize('last', [None, '', 'epoch_1.pth'])
def test_an_empty_folder_is_a_beginning(tmp_path, last):
    if last is not None:
        (tmp_path / 'last_checkpoint').write_text(last)
    name, notes = resumed(tmp_path)
    assert name is None
    assert len(notes) == 1


@pytest.mark.parametrize('last', [None, '', 'epoch_1.pth', 'elsewhere/epoch_2.pth'])
def test_the_note_of_the_last_one_need_not_be_right(tmp_path, last):
    for epoch in (1, 2):
        save(tmp_path / f'epoch_{epoch}.pth')
    note = tmp_path / 'last_checkpoint'
    note.unlink() if last is None else note.write_text(last)
    assert resumed(tmp_path)[0] == 'epoch_2.pth'


@pytest.mark.parametrize('where', ['', 'before it was moved/'], ids=['here', 'moved'])
def test_what_an_earlier_training_left_in_the_folder_is_not_newer(tmp_path, where):
    for epoch in (1, 2, 3):
        os.utime(save(tmp_path / f'epoch_{epoch}.pth'), (1, 1))
    save(tmp_path / 'epoch_1.pth')
    (tmp_path / 'last_checkpoint').write_text(f'{where}epoch_1.pth')
    assert resumed(tmp_path) == ('epoch_1.pth', [])


def test_the_folder_and_names_of_the_checkpoint_hook_are_known(tmp_path):
    work_dir, out = tmp_path / 'run', tmp_path / 'out' / 'run'
    work_dir.mkdir()
    out.mkdir(parents=True)
    for name in ('iter_5.pth', 'epoch_4.pth', 'at_(3).pth', 'at_(12).pth'):
        save(out / name)
    for hook, name in (
        (dict(by_epoch=False), 'iter_5.pth'),
        (dict(), 'epoch_4.pth'),
        (dict(filename_tmpl='at_({:d}).pth'), 'at_(12).pth'),
    ):
        hook = dict(type='CheckpointHook', out_dir=str(tmp_path / 'out'), **hook)
        assert resumed(work_dir, default_hooks=dict(checkpoint=hook)) == (name, [])


def test_a_name_without_a_number_is_that_of_the_one_checkpoint_there_is(tmp_path):
    save(tmp_path / 'latest.pth')
    hooks = dict(checkpoint=dict(type='CheckpointHook', filename_tmpl='latest.pth'))
    assert resumed(tmp_path, default_hooks=hooks) == ('latest.pth', [])


def test_one_that_was_saved_under_another_name_is_found_by_the_note(tmp_path):
    save(tmp_path / 'epoch_4.pth')
    assert resumed(tmp_path, default_hooks=dict(checkpoint=dict(by_epoch=False))) == ('epoch_4.pth', [])


def test_a_folder_as_deepspeed_saves_is_left_to_upstream(tmp_path):
    (tmp_path / 'epoch_1.pth').mkdir()
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    assert resumed(tmp_path) == ('epoch_1.pth', [])


@pytest.mark.parametrize(
    ('changes', 'why'),
    [
        (dict(optimizer=None), r'lacks optimizer.*save_optimizer'),
        (dict(code=random.Random), r"refused.*'random\.Random'"),
    ],
    ids=['no optimizer', 'refused'],
)
def test_whole_checkpoints_are_not_overwritten_by_a_new_beginning(tmp_path, changes, why):
    save(tmp_path / 'epoch_1.pth', **changes)
    cut(save(tmp_path / 'epoch_2.pth'))
    with pytest.raises(ValueError, match=rf'nothing to resume from.*move it away.*epoch_1\.pth is .*{why}'):
        prepare_resume(config(tmp_path))


def test_the_seed_is_the_checkpoints_where_the_config_has_none(tmp_path):
    save(tmp_path / 'epoch_1.pth', seed=5)
    for randomness, expected in (
        (None, dict(seed=5)),
        (dict(seed=None, deterministic=True), dict(seed=5, deterministic=True)),
        (dict(seed=0), dict(seed=0)),
    ):
        cfg = config(tmp_path) if randomness is None else config(tmp_path, randomness=randomness)
        prepare_resume(cfg)
        assert cfg.get('randomness') == expected


def test_a_checkpoint_that_is_named_is_taken_or_an_error(tmp_path):
    for epoch in (1, 2):
        save(tmp_path / f'epoch_{epoch}.pth', seed=epoch)
    cfg = config(tmp_path, custom_hooks=[dict(type='EMAHook')])
    assert prepare_resume(cfg, str(tmp_path / 'epoch_1.pth')) == []
    assert (cfg.resume, cfg.load_from) == (True, str(tmp_path / 'epoch_1.pth'))
    assert cfg.randomness.seed == 1
    assert cfg.custom_hooks == [dict(type='EMAHook'), *FIT]

    with pytest.raises(ValueError, match=r"epoch_2\.pth' cannot be read as a checkpoint.*cut short"):
        prepare_resume(config(tmp_path), str(cut(tmp_path / 'epoch_2.pth')))
    with pytest.raises(FileNotFoundError, match=r'epoch_3\.pth'):
        prepare_resume(config(tmp_path), str(tmp_path / 'epoch_3.pth'))


def test_a_beginning_with_the_config_of_a_training_that_went_on_does_not_start_from_its_weights(tmp_path):
    cfg = config(tmp_path / 'new', load_from='other/epoch_1.pth', resume=True)
    prepare_resume(cfg)
    assert (cfg.resume, cfg.load_from) == (False, None)


@pytest.mark.parametrize('asked', ['auto', 'named'])
def test_a_model_that_is_set_otherwise_than_when_the_training_began_is_spoken_of(tmp_path, asked):
    began = Config(dict(model=dict(method=dict(loss=dict(type='L2Loss')), pairs=[dict(weight=1.0)]), work_dir='there'))
    file = save(tmp_path / 'epoch_1.pth', meta=dict(seed=7, cfg=began.pretty_text))
    checkpoint = 'auto' if asked == 'auto' else str(file)
    assert prepare_resume(config(tmp_path, model=began.model), checkpoint) == []

    now = Config(
        dict(model=dict(method=dict(loss=dict(type='KDLoss')), pairs=[dict(weight=0.5)], teacher=dict(a=(1,))))
    )
    (note,) = prepare_resume(config(tmp_path, model=now.model), checkpoint)
    assert note.startswith('epoch_1.pth comes from a training with another model.method.loss.type, ')
    assert 'model.pairs.0.weight, model.teacher; it goes on' in note


def test_an_optimizer_or_schedule_that_is_another_is_spoken_of(tmp_path):
    began = dict(model=dict(type='Toy'), optim_wrapper=dict(optimizer=dict(lr=0.1)), param_scheduler=[dict(end=9)])
    save(tmp_path / 'epoch_1.pth', meta=dict(seed=7, cfg=Config(began).pretty_text))
    assert prepare_resume(config(tmp_path, **began)) == []
    now = began | dict(optim_wrapper=dict(optimizer=dict(lr=0.2)), param_scheduler=[], train_cfg=dict(max_epochs=9))
    (note,) = prepare_resume(config(tmp_path, **now))
    assert 'another optim_wrapper.optimizer.lr, param_scheduler; it goes on' in note


@pytest.mark.parametrize('text', ['', None, 'model = dict(', 'work_dir = 7'])
def test_a_checkpoint_that_does_not_say_with_what_model_it_was_begun_is_compared_with_none(tmp_path, text):
    save(tmp_path / 'epoch_1.pth', meta=dict(seed=7, cfg=text))
    assert prepare_resume(config(tmp_path, model=dict(type='Toy'))) == []
