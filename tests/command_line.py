"""Running the tools as a user does."""

import re
import shlex
import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from warm_start import start

ROOT = Path(__file__).resolve().parents[1]


def run_tool(name: str, *args: object, fails: bool = False, cwd: Path = ROOT) -> str:
    """Run ``tools/<name>.py`` and return what it printed; fail the test if it ends other than expected."""
    with tempfile.NamedTemporaryFile('r') as log:
        run = start(ROOT / 'tools' / f'{name}.py', [*map(str, args)], cwd, Path(log.name))
        run.join()
        printed = log.read()
    assert (run.exitcode != 0) == fails, printed[-3000:]
    return printed


def kill_training(*args: object, when: Path) -> str:
    """Run ``tools/train.py``, kill it as soon as there is the file ``when``, and return what it printed."""
    with tempfile.NamedTemporaryFile('r') as log:
        run = start(ROOT / 'tools' / 'train.py', [*map(str, args)], ROOT, Path(log.name))
        while not when.exists() and run.is_alive():
            time.sleep(0.01)
        run.kill()
        run.join()
        printed = log.read()
    assert run.exitcode == -signal.SIGKILL, printed[-3000:]
    return printed


def newest(work_dir: Path) -> tuple[Path, int]:
    """The checkpoint of the last iteration or epoch, and its number."""
    names = {path: re.fullmatch(r'(?:epoch|iter)_(\d+)', path.stem) for path in work_dir.glob('*.pth')}
    return max(((path, int(name[1])) for path, name in names.items() if name), key=lambda found: found[1])


def modified(folder: Path) -> dict[Path, int]:
    """When each file below a folder was last written, in ns."""
    return {file: file.stat().st_mtime_ns for file in folder.rglob('*') if file.is_file()}


def as_options(options: Mapping[str, object]) -> list[str]:
    """Options by key as ``--cfg-options`` takes them."""
    return [f'{key}={value}' for key, value in options.items()]


def as_students(options: Mapping[str, object]) -> dict[str, object]:
    """What sets the same in the student of a distillation."""
    return {re.sub(r'^model\.', 'model.student.', key): value for key, value in options.items()}


def tool_commands(text: str) -> list[list[str]]:
    """The tools and their arguments that a text says to run, a line each."""
    return [
        [tool, *shlex.split(args)] for tool, args in re.findall(r'^ *python tools/(\w+)\.py (.+)$', text, re.MULTILINE)
    ]


def voc_options(root: Path, train: str = 'train', val: str = 'train') -> list[str]:
    """What points an SSD config to a small folder in VOC's layout, with a short run in the main process."""
    return [
        f'train_dataloader.dataset.data_root={root}/',
        f'train_dataloader.dataset.ann_file=ImageSets/Main/{train}.txt',
        f'val_dataloader.dataset.data_root={root}/',
        f'val_dataloader.dataset.ann_file=ImageSets/Main/{val}.txt',
        f'test_dataloader.dataset.data_root={root}/',
        f'test_dataloader.dataset.ann_file=ImageSets/Main/{val}.txt',
        *(f'{loader}_dataloader.num_workers=0' for loader in ('train', 'val', 'test')),
        *(f'{loader}_dataloader.persistent_workers=False' for loader in ('train', 'val', 'test')),
        'train_dataloader.batch_size=2',
        'train_cfg.val_interval=1000',
        'default_hooks.logger.interval=1',
        'randomness.seed=0',
    ]
