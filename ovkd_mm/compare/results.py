"""What came out of a study: figures of its runs, and their table."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mmengine.config import Config

from ..checkpoints.resume import checkpoint_hook
from ..report.history import Run, read_history
from .study import Entry
from .training import Training, metrics_of

__all__ = ['Metric', 'Result', 'Row', 'choose_metric', 'mean_and_std']

KNOWN = ('accuracy/top1', 'pascal_voc/mAP', 'coco/bbox_mAP', 'mIoU')  # where the config names none


@dataclass(frozen=True)
class Metric:
    """A validation metric.

    Attributes:
        key: Its key in the log.
        less_is_better: As in mmengine's ``CheckpointHook``.
    """

    key: str
    less_is_better: bool = False


def choose_metric(key: str | None, config: Config, trainings: Sequence[Training]) -> Metric | None:
    """The metric that is asked for, else the config's ``save_best``, else a toolkit's main one, else the first logged.

    Returns:
        None if nothing is validated yet that would tell.
    """
    hook = checkpoint_hook(config)
    saved, rules = (one if isinstance(one, list) else [one] for one in (hook.get('save_best'), hook.get('rule')))
    rule_of = dict(zip(saved, rules * len(saved) if len(rules) == 1 else rules, strict=False))
    key = key or (saved[0] if saved[0] != 'auto' else None)
    if key is None:
        logged = [metrics_of(entry) for one in trainings for entry in read_history(one.folder) if 'loss' not in entry]
        keys = logged[0] if logged else []
        key = next((name for name in KNOWN if name in keys), keys[0] if keys else None)
    rule = rule_of.get(key, rule_of.get('auto'))
    less = rule == 'less' if rule else 'loss' in (key or '')
    return Metric(key, less) if key else None


@dataclass(frozen=True)
class Result:
    """One run's figures, those that its log has.

    Attributes:
        training: The run.
        metric: The validation metric.
    """

    training: Training
    metric: Metric | None

    @cached_property
    def log(self) -> Run:
        """Its log."""
        return Run(read_history(self.training.folder))

    @property
    def finished(self) -> bool:
        """Whether it has figures to compare."""
        return self.training.state == 'finished' and bool(self.curve[1])

    @property
    def curve(self) -> tuple[list[int], list[float]]:
        """Iterations of the validations, and the metric there."""
        return self.log.curve(self.metric.key) if self.metric else ([], [])

    @property
    def task_loss(self) -> tuple[list[int], list[float]]:
        """Iterations of the log, and the loss there less the distillation's."""
        steps, task, _ = self.log.losses
        return steps, task

    @property
    def distillation_loss(self) -> tuple[list[int], list[float]]:
        """Iterations of the log, and the distillation's loss there; empty where nothing is distilled."""
        steps, _, distillation = self.log.losses
        return (steps, distillation) if any(distillation) else ([], [])

    @property
    def final(self) -> float:
        """The metric of the last validation."""
        return self.curve[1][-1]

    @property
    def best(self) -> float:
        """The best metric of all validations that gave a finite one."""
        values = [value for value in self.curve[1] if math.isfinite(value)] or self.curve[1]
        return min(values) if self.metric and self.metric.less_is_better else max(values)

    @property
    def seconds_per_iteration(self) -> float | None:
        """Mean over the training iterations; None where none was logged."""
        steps, _ = self.log.curve('loss')
        return self.log.seconds / steps[-1] if steps else None

    @property
    def memory(self) -> tuple[int, str]:
        """Peak in MiB, and of what: torch's on a GPU, else the process's resident set."""
        on_gpu = self.log.curve('memory')[1]
        return (round(max(on_gpu)), 'GPU') if on_gpu else (self.training.note['peak_rss_mib'], 'RSS')

    def as_json(self) -> dict:
        """For ``results.json``."""
        note = self.training.note
        found = dict(seed=self.training.seed, state=self.training.state, work_dir=str(self.training.folder))
        if note.get('reason'):
            found['reason'] = note['reason']
        if self.finished:
            memory, kind = self.memory
            found |= dict(
                final=self.final,
                best=self.best,
                curve=list(zip(*self.curve, strict=True)),
                seconds_per_iteration=self.seconds_per_iteration,
                peak_memory_mib=memory,
                memory_kind=kind,
                parameters=note['parameters'],
                minutes=note['minutes'],
                environment=note['environment'],
            )
        return found


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and sample standard deviation, which one value does not have; nan where not all values are finite."""
    if not all(map(math.isfinite, values)):
        return math.nan, math.nan if len(values) > 1 else None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Row:
    """An entry's results.

    Attributes:
        entry: The entry.
        results: One a seed.
    """

    entry: Entry
    results: Sequence[Result]

    @property
    def finished(self) -> list[Result]:
        """Those with figures."""
        return [result for result in self.results if result.finished]

    def statistic(self, name: str) -> tuple[float, float | None] | None:
        """Mean and deviation of a figure over the seeds; None where there is none."""
        values = [value for result in self.finished if (value := getattr(result, name)) is not None]
        return mean_and_std(values) if values else None

    def curve(self, name: str) -> tuple[list[int], list[float]]:
        """A figure over the iterations, mean over the seeds, where all of them logged it."""
        curves = [dict(zip(*getattr(result, name), strict=True)) for result in self.finished]
        steps = sorted(set.intersection(*map(set, curves))) if curves else []
        return steps, [statistics.fmean(curve[step] for curve in curves) for step in steps]

    @property
    def seeds(self) -> str:
        """How many seeds are done; the others' states and reasons."""
        done = f'{len(self.finished)} of {len(self.results)}'
        others = [result.training for result in self.results if not result.finished]
        whys = [f'seed {one.seed} {": ".join(filter(None, (one.state, one.note.get("reason"))))}' for one in others]
        return '; '.join([done, *whys]) if whys else str(len(self.finished))

    def cells(self, decimals: int) -> list[str]:
        """The row of the table, after the label."""
        if not self.finished:
            return ['-'] * 5 + [self.seeds]
        memories = [result.memory for result in self.finished]
        parameters = {result.training.note['parameters'] for result in self.finished}
        return [
            _plus_minus(self.statistic('final'), decimals),
            _plus_minus(self.statistic('best'), decimals),
            _plus_minus(self.statistic('seconds_per_iteration'), 3),
            '{} MiB {}'.format(*max(memories)) if max(memories)[0] else '-',
            ', '.join(f'{number:,}' for number in sorted(parameters)),
            self.seeds,
        ]


def _plus_minus(statistic: tuple[float, float | None] | None, decimals: int) -> str:
    if statistic is None:
        return '-'
    mean, std = statistic
    return f'{mean:.{decimals}f}' + ('' if std is None else f' ± {std:.{decimals}f}')
