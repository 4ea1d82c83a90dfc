"""Running the tools as a user does."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_tool(name: str, *args: object, fails: bool = False) -> str:
    """Run ``tools/<name>.py`` and return what it printed; fail the test if it ends other than expected."""
    command = [sys.executable, str(ROOT / 'tools' / f'{name}.py'), *map(str, args)]
    run = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert (run.returncode != 0) == fails, run.stdout[-3000:]
    return run.stdout


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
