"""What a training logged."""

import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ['Run', 'read_history']

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
        line the metrics; ``step`` is the iteration in both (mmengine numbers some validation lines by epoch).
    """
    entries = {}
    step = 0
    for file in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):  # the folders are named by time
        for line in file.read_text().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # cut off where the run was killed
                continue
            is_validation = 'loss' not in entry
            step = entry['step'] = step if is_validation else entry['step']
            entries[step, is_validation] = entry
    return [entries[key] for key in sorted(entries)]
