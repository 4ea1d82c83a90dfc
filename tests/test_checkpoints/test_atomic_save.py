import errno
import fcntl
import os
import resource
import secrets
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.fileio.backends import local_backend
from mmengine.runner import save_checkpoint

from ovkd_mm.checkpoints import atomic_save
from ovkd_mm.checkpoints.atomic_save import leftovers, write_whole

LIMIT = 10_000  # bytes that a file may have where a disk is to be full


@pytest.fixture
def seen(monkeypatch):
    """What happens to files and folders on the disk, in order: ``(what, name, files of the folder)``."""
    found = []
    replace, fsync = os.replace, os.fsync

    def look(source, target):
        found.append(('replace', os.path.basename(target), sorted(os.listdir(os.path.dirname(target)))))
        replace(source, target)

    def sync(descriptor):
        path = os.readlink(f'/proc/self/fd/{descriptor}')
        found.append(('fsync', os.path.basename(path), sorted(os.listdir(path)) if os.path.isdir(path) else None))
        fsync(descriptor)

    monkeypatch.setattr(os, 'replace', look)
    monkeypatch.setattr(os, 'fsync', sync)
    return found


@pytest.fixture
def small_disk():
    """No file gets bigger than ``LIMIT``; the system says EFBIG where a full disk says ENOSPC."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def abandoned(folder: Path, name: str = 'epoch_1.pth') -> Path:
    """Half a checkpoint that a killed process left, as the patch names it."""
    code = (
        'import os, sys, ovkd_mm\nfrom mmengine.fileio import LocalBackend\n'
        'os.replace = lambda *args: os._exit(9)\nLocalBackend().put(b"half", sys.argv[1])'
    )
    before = set(folder.iterdir())
    assert subprocess.run([sys.executable, '-c', code, str(folder / name)], check=False).returncode == 9
    (left,) = set(folder.iterdir()) - before
    return left


def test_mmengine_writes_a_checkpoint_to_the_disk_before_it_takes_its_place(tmp_path, seen):
    path = tmp_path / 'new' / 'new folder' / 'epoch_1.pth'
    save_checkpoint(dict(a=torch.ones(3)), str(path))
    (written, unfinished, _), replaced, folder = seen
    assert written == 'fsync'
    assert unfinished.startswith('.epoch_1.pth.')
    assert unfinished.endswith('.unfinished')
    assert replaced == ('replace', 'epoch_1.pth', [unfinished])
    assert folder == ('fsync', 'new folder', ['epoch_1.pth'])
    assert torch.load(path)['a'].tolist() == [1, 1, 1]


@pytest.mark.parametrize('names', [('one.pth', 'two.pth'), ('one.pth', 'one.pth')], ids=['two files', 'one file'])
def test_two_processes_that_save_into_one_folder_do_not_meet(tmp_path, names):
    code = """
import sys, ovkd_mm
from mmengine.fileio import LocalBackend
path, own, allowed = sys.argv[1], sys.argv[2].encode() * 2_000_000, sys.argv[2:]
for _ in range(60):
    LocalBackend().put(own, path)
    found = LocalBackend().get(path)
    assert len(found) == len(own) and {found[:1].decode()} <= set(allowed) and found == found[:1] * len(own)
"""
    letters = [('a',), ('b',)] if names[0] != names[1] else [('a', 'b'), ('b', 'a')]
    processes = [
        subprocess.Popen([sys.executable, '-c', code, str(tmp_path / name), *own], stderr=subprocess.PIPE, text=True)
        for name, own in zip(names, letters, strict=True)
    ]
    assert [process.communicate()[1] for process in processes] == ['', '']
    assert sorted(os.listdir(tmp_path)) == sorted(set(names))


def test_a_save_that_fails_leaves_the_old_checkpoint_and_nothing_else(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    LocalBackend().put(b'old', path)
    with pytest.raises(TypeError):
        LocalBackend().put('no bytes', path)
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['epoch_1.pth']


def test_a_full_disk_leaves_the_old_checkpoint_and_the_message_names_it(tmp_path, small_disk):
    path = tmp_path / 'epoch_1.pth'
    LocalBackend().put(b'old', path)
    why = r'; the checkpoint could not be saved, an older one of this name is as it was: .*epoch_1\.pth'
    with pytest.raises(OSError, match=why) as caught:
        LocalBackend().put(bytes(2 * LIMIT), path)
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['epoch_1.pth']


def test_a_disk_that_is_full_only_when_it_is_written_to_is_noticed_too(tmp_path, monkeypatch):
    path = tmp_path / 'epoch_1.pth'
    LocalBackend().put(b'old', path)

    def fsync(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', fsync)
    with pytest.raises(OSError, match=r'No space left.*could not be saved.*epoch_1\.pth') as caught:
        LocalBackend().put(b'new', path)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['epoch_1.pth']


def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path, monkeypatch):
    fsync = os.fsync

    def not_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, 'fsync', not_folders)
    LocalBackend().put(b'new', tmp_path / 'epoch_1.pth')
    assert (tmp_path / 'epoch_1.pth').read_bytes() == b'new'


def test_what_a_killed_save_left_is_found_and_the_next_one_removes_it(tmp_path):
    left = abandoned(tmp_path, 'best_accuracy_epoch_7.pth')
    assert left.read_bytes() == b'half'
    assert list(tmp_path.glob('*.pth')) == []
    assert leftovers(tmp_path) == [left]
    assert left.exists()
    LocalBackend().put(b'new', tmp_path / 'epoch_1.pth')
    assert os.listdir(tmp_path) == ['epoch_1.pth']


def test_what_another_process_is_writing_is_left_alone(tmp_path):
    left = abandoned(tmp_path)
    os.utime(left, (1, 1))
    with left.open('rb') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert leftovers(tmp_path) == []
        LocalBackend().put(b'new', tmp_path / 'epoch_1.pth')
        assert left.exists()
    assert leftovers(tmp_path) == [left]


def test_a_save_holds_its_lock_until_the_checkpoint_is_in_its_place(tmp_path, monkeypatch):
    replace = os.replace

    def save_another_first(source, target):
        monkeypatch.setattr(os, 'replace', replace)
        LocalBackend().put(b'another', tmp_path / 'epoch_2.pth')
        replace(source, target)

    monkeypatch.setattr(os, 'replace', save_another_first)
    LocalBackend().put(b'new', tmp_path / 'epoch_1.pth')
    assert sorted(os.listdir(tmp_path)) == ['epoch_1.pth', 'epoch_2.pth']


def test_one_that_is_removed_before_it_is_locked_is_begun_anew(tmp_path, monkeypatch):
    flock, removed = fcntl.flock, []

    def late(file, how):
        if how == fcntl.LOCK_EX and not removed:  # another process cleans up first
            removed.extend(leftovers(tmp_path))
            removed[0].unlink()
        return flock(file, how)

    monkeypatch.setattr(fcntl, 'flock', late)
    LocalBackend().put(b'new', tmp_path / 'epoch_1.pth')
    assert len(removed) == 1
    assert (tmp_path / 'epoch_1.pth').read_bytes() == b'new'


def test_a_lock_that_another_machine_may_not_see_is_not_trusted_for_a_day(tmp_path):
    left = abandoned(tmp_path)
    foreign = left.rename(tmp_path / '.epoch_1.pth.elsewhere.0123abcd.unfinished')
    for age in (0, 86_000):
        os.utime(foreign, (time.time() - age,) * 2)
        assert leftovers(tmp_path) == []
    os.utime(foreign, (time.time() - 86_401,) * 2)
    assert leftovers(tmp_path) == [foreign]


@pytest.mark.parametrize('without', ['locks on this file system', 'locks on this system'])
def test_without_locks_a_day_without_writing_tells(tmp_path, monkeypatch, without):
    def flock(file, how):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    left = abandoned(tmp_path)
    if without == 'locks on this system':
        monkeypatch.setattr(atomic_save, 'fcntl', None)
    else:
        monkeypatch.setattr(fcntl, 'flock', flock)
    LocalBackend().put(b'new', tmp_path / 'epoch_1.pth')
    assert left.exists()
    os.utime(left, (time.time() - 90_000,) * 2)
    LocalBackend().put(b'newer', tmp_path / 'epoch_1.pth')
    assert (tmp_path / 'epoch_1.pth').read_bytes() == b'newer'
    assert os.listdir(tmp_path) == ['epoch_1.pth']


def test_permissions_are_those_of_a_plain_open(tmp_path):
    umask = os.umask(0o020)
    try:
        LocalBackend().put(b'old', tmp_path / 'epoch_1.pth')
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / 'epoch_1.pth').stat().st_mode) == 0o646
    (tmp_path / 'epoch_1.pth').chmod(0o604)
    LocalBackend().put(b'new', tmp_path / 'epoch_1.pth')
    assert stat.S_IMODE((tmp_path / 'epoch_1.pth').stat().st_mode) == 0o604


def test_what_another_began_under_the_same_name_is_not_written_into(tmp_path, monkeypatch):
    left = abandoned(tmp_path)
    monkeypatch.setattr(secrets, 'token_hex', lambda length: left.name.split('.')[-2])
    with left.open('rb') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(FileExistsError, match=r'could not be saved'):
            LocalBackend().put(b'new', tmp_path / 'epoch_1.pth')
    assert left.read_bytes() == b'half'


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    for name in ('a' * 251 + '.pth', 'ä' * 125 + '.pth'):
        LocalBackend().put(b'new', tmp_path / name)
        assert (tmp_path / name).read_bytes() == b'new'


def test_a_link_stays_a_link_and_its_target_is_replaced_whole(tmp_path, seen):
    for name in ('real.pth', 'real'):
        (tmp_path / 'link.pth').unlink(missing_ok=True)
        (tmp_path / 'link.pth').symlink_to(tmp_path / name)
        LocalBackend().put(b'new', tmp_path / 'link.pth')
        assert (tmp_path / 'link.pth').is_symlink()
        assert (tmp_path / name).read_bytes() == b'new'
        assert [(what, target) for what, target, _ in seen if what == 'replace'] == [('replace', name)]
        seen.clear()


def test_a_pipe_stays_a_pipe(tmp_path):
    pipe = tmp_path / 'pipe.pth'
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    LocalBackend().put(b'new', pipe)
    assert os.read(reader, 9) == b'new'
    os.close(reader)
    assert pipe.is_fifo()


def test_other_files_are_written_as_upstream_does(tmp_path, seen):
    LocalBackend().put(b'data', tmp_path / 'results.pkl')
    assert (tmp_path / 'results.pkl').read_bytes() == b'data'
    assert not seen


def test_mending_again_changes_nothing():
    put = LocalBackend.put
    atomic_save.patch(local_backend)
    assert LocalBackend.put is put


def test_a_text_of_several_writers_is_that_of_one_and_no_other_file_is_touched(tmp_path):
    (tmp_path / 'report.tmp').write_text('mine')
    texts = [letter * 10_000 for letter in 'abcd']
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda text: [write_whole(tmp_path / 'report.html', text) for _ in range(50)], texts))
    assert (tmp_path / 'report.html').read_text() in texts
    assert (tmp_path / 'report.tmp').read_text() == 'mine'
    assert len(list(tmp_path.iterdir())) == 2
