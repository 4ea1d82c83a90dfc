"""The trials of a search from the best on, and the table of them."""

import math
import shlex
from pathlib import Path
from typing import Any

from ..compare.results import Metric
from .space import Space, shares_text

__all__ = ['ranked', 'table']


def ranked(trials: list[Any], metric: Metric) -> list[Any]:
    """Optuna's trials from the best on; those that got further come first."""
    sign = 1 if metric.less_is_better else -1

    def order(trial: Any) -> tuple[int, float]:
        last = max(trial.intermediate_values, default=0)
        value = sign * trial.intermediate_values.get(last, 0.0)
        return -last, value if math.isfinite(value) else math.inf

    return sorted(trials, key=order)


def table(trials: list[Any], space: Space, metric: Metric, part: float, rungs: int, work_dir: Path) -> str:
    """A Markdown table of trials, which says how to train the best of them whole.

    Args:
        trials: Optuna's, from the best on.
        space: What they were chosen from.
        metric: What they were judged by.
        part: Fraction of the schedule that they had.
        rungs: How many validations a whole trial has.
        work_dir: Where ``best.yml`` is.
    """
    lines = [f'| method | share | pairs | {metric.key} | seen |', '|---|---:|---:|---:|---|']
    for trial in trials:
        last = max(trial.intermediate_values, default=0)
        whole = trial.state.name == 'COMPLETE'
        seen = 'all' if whole else f'ended after {last} of {rungs} validations'
        if failed := trial.user_attrs.get('failed'):
            seen = f'failed: {failed}'.replace('|', '\\|')
        value = f'{trial.intermediate_values[last]:.4g}' if last else '-'
        given = trial.params
        lines.append(f'| {given["method"]} | {shares_text(given)} | {space.kept(given)} | {value} | {seen} |')
    whole = shlex.join(['python', 'tools/compare.py', str(work_dir / 'best.yml'), '--work-dir', str(work_dir / 'best')])
    seen = f'One seed and {100 * part:.3g}% of the schedule'
    lines += ['', f'{seen}: train the best ones whole, over several seeds, by `{whole}`.', '']
    return '\n'.join(lines)
