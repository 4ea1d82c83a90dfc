import os

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.fileio.backends import local_backend
from mmengine.runner import save_checkpoint

from ovkd_mm.compat import atomic_save


@pytest.fixture
def seen(monkeypatch):
    """The folder's files, and the old checkpoint's content, when a file is moved to its place."""
    found = []
    replace = os.replace

    def look(source, target):
        found.append((os.path.basename(source), os.path.getsize(source), sorted(os.listdir(os.path.dirname(target)))))
        replace(source, target)

    monkeypatch.setattr(os, 'replace', look)
    return found


def test_mmengine_writes_a_checkpoint_beside_its_place_first(tmp_path, seen):
    path = tmp_path / 'new folder' / 'epoch_1.pth'
    save_checkpoint(dict(a=torch.ones(3)), str(path))
    assert seen == [('unfinished_checkpoint', path.stat().st_size, ['unfinished_checkpoint'])]
    assert torch.load(path)['a'].tolist() == [1, 1, 1]
    assert os.listdir(path.parent) == ['epoch_1.pth']


def test_a_save_that_fails_leaves_the_old_checkpoint_and_nothing_else(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    LocalBackend().put(b'old', path)
    with pytest.raises(TypeError):
        LocalBackend().put('no bytes', path)
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['epoch_1.pth']


def test_what_a_killed_save_left_is_replaced(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    path.with_name('unfinished_checkpoint').write_bytes(b'a longer half')
    LocalBackend().put(b'new', path)
    assert path.read_bytes() == b'new'
    assert os.listdir(tmp_path) == ['epoch_1.pth']


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / 'link.pth').symlink_to(tmp_path / 'real.pth')
    LocalBackend().put(b'new', tmp_path / 'link.pth')
    assert (tmp_path / 'link.pth').is_symlink()
    assert (tmp_path / 'real.pth').read_bytes() == b'new'


def test_other_files_are_written_as_upstream_does(tmp_path, seen):
    LocalBackend().put(b'data', tmp_path / 'results.pkl')
    assert (tmp_path / 'results.pkl').read_bytes() == b'data'
    assert not seen


def test_mending_again_changes_nothing():
    put = LocalBackend.put
    atomic_save.mend(local_backend)
    assert LocalBackend.put is put
