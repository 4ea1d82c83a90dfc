"""What a training logged."""

import contextlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

__all__ = ['Run', 'logged_bytes', 'read_history']

DISTILLATION = 'loss_distill_'  # what the FeatureDistiller's losses begin with


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        history: Its log, see :func:`read_history`.
    """

    history: list[dict]

    def curve(self, key: str) -> tuple[list[int], list[float]]:
        """The iterations at which ``key`` was logged, and its values."""
        points = [(entry['step'], entry[key]) for entry in self.history if key in entry]
        return [step for step, _ in points], [value for _, value in points]

    @property
    def losses(self) -> tuple[list[int], list[float], list[float]]:
        """Iterations, the task's loss and the distillation's, which is zero where nothing is distilled."""
        steps, totals = self.curve('loss')
        entries = [entry for entry in self.history if 'loss' in entry]
        distillation = [sum(v for k, v in entry.items() if k.startswith(DISTILLATION)) for entry in entries]
        return steps, [total - part for total, part in zip(totals, distillation, strict=True)], distillation

    @property
    def seconds(self) -> float:
        """Time spent in training iterations, validation and start-up left out."""
        steps, times = self.curve('time')
        training = {entry['step'] for entry in self.history if 'loss' in entry}
        total, last = 0.0, 0
        for step, time in zip(steps, times, strict=True):
            if step in training:
                total += (step - last) * time
                last = step
        return total


def read_history(work_dir: str | Path) -> list[dict]:
    """Read what mmengine logged below a work dir, ``*/vis_data/scalars.json``.

    Where a run was resumed, what was logged twice counts as logged last.

    Args:
        work_dir: The run's work dir.

    Returns:
        One dict a log line, in the order of training. A training line has ``loss``, ``time`` and the like, a validation
        line the metrics; ``step`` is the iteration in both. Of a validation that mmengine numbers by epoch it is that
        of the training line before.
    """
    entries: dict[tuple[int, bool, int], dict] = {}
    step = 0
    for lines in sorted(map(_lines, _files(work_dir)), key=_trained):
        if first := next((line['step'] for line in lines if 'loss' in line), None):
            # It was resumed before that.
            entries = {key: entry for key, entry in entries.items() if key[0] < first}
            step = max((at for at, is_validation, _ in entries if not is_validation), default=0)
        since = 0  # validations after the last training line, of which several would have its number
        for line in lines:
            is_validation = 'loss' not in line
            by_epoch = is_validation and (line['step'] < step or line['step'] == 0)
            since = since + 1 if is_validation else 0
            at = step if by_epoch else line['step']
            step = step if is_validation else at
            entries[at, is_validation, since if by_epoch else 0] = line | dict(step=at)
    return [entries[key] for key in sorted(entries)]


def logged_bytes(work_dir: str | Path) -> int:
    """The size of what :func:`read_history` reads, to see whether there is more of it."""
    return sum(file.stat().st_size for file in _files(work_dir))


def _files(work_dir: str | Path) -> list[Path]:
    return sorted(Path(work_dir).glob('*/vis_data/scalars.json'))


def _lines(file: Path) -> list[dict]:
    lines = []
    for line in file.read_text().splitlines():
        with contextlib.suppress(ValueError):  # cut off where the run was killed
            lines.append(json.loads(line))
    return lines


def _trained(lines: list[dict]) -> tuple[float, float]:
    """The first and last iteration of an attempt, by which later ones come later: each begins at a newer checkpoint.

    The folders are named by local time, which runs back when summer ends or another machine goes on.
    """
    steps = [line['step'] for line in lines if 'loss' in line] or [math.inf]  # a validation that was still owed
    return steps[0], steps[-1]
