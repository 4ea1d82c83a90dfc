"""Training with a progress bar, begun, resumed or left alone as the work dir asks for."""

import logging
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..checkpoints.resume import prepare_resume
from ..report.history import read_history

__all__ = ['train']


METRIC = 'pascal_voc/mAP'


def train(config: Config, work_dir: Path, console: Console) -> Path:
    """Train, go on training or do nothing, according to what the work dir holds.

    Args:
        config: An iteration-based config that saves its last iteration.
        work_dir: The run's folder; its name is the run's.
        console: Where to show the progress.

    Returns:
        The last checkpoint.

    Raises:
        ValueError: If the work dir holds nothing but complete checkpoints that cannot be resumed.
    """
    checkpoint = work_dir / f'iter_{config.train_cfg.max_iters}.pth'
    config.work_dir = str(work_dir)
    notes = prepare_resume(config) if work_dir.is_dir() else []
    # The last iteration is saved first and validated then.
    if config.get('load_from') == str(checkpoint) and _is_validated(work_dir):
        console.print(f'{work_dir.name}: finished before, kept')
        return checkpoint
    runner = _QuietRunner.from_cfg(config)
    for note in notes:
        console.print(f'{work_dir.name}: {note}', markup=False, highlight=False)
        runner.logger.warning(note)
    columns = (
        TextColumn('{task.description:<10}'),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn('loss {task.fields[loss]:.2f}'),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        runner.register_hook(_ProgressHook(progress, work_dir.name), priority='VERY_LOW')
        runner.model.to(memory_format=torch.channels_last)  # depthwise convolutions are twice as fast with it on a CPU
        runner.train()
    # Left to the garbage collector, each loading process would be waited for in vain for five seconds.
    runner.train_loop.dataloader_iterator = None
    if not _is_validated(work_dir):
        runner.val_loop.run()
    return checkpoint


def _is_validated(work_dir: Path) -> bool:
    """Whether a validation is the last that was logged."""
    history = read_history(work_dir)
    return bool(history) and METRIC in history[-1]


class _QuietRunner(Runner):
    """Logs to its file what the progress bar says on the console."""

    def build_logger(self, *args, **kwargs) -> logging.Logger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setLevel(logging.ERROR)
        return logger


class _ProgressHook(Hook):
    """Moves a progress bar and says how good the model has become."""

    def __init__(self, progress: Progress, name: str) -> None:
        self.progress = progress
        self.name = name

    def before_train(self, runner: Runner) -> None:
        self.task = self.progress.add_task(self.name, total=runner.max_iters, completed=runner.iter, loss=float('nan'))

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict, outputs: dict) -> None:
        self.progress.update(self.task, completed=runner.iter + 1, loss=outputs['loss'].item())

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        self.progress.console.print(f'  {self.name} after {runner.iter} iterations: mAP {metrics[METRIC]:.3f}')
