"""The search: trials in child processes, of which the worse half ends early."""

import copy
import hashlib
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Console
from rich.markup import escape

from ..checkpoints.atomic_save import write_whole
from ..compare.claim import claimed
from ..compare.configs import as_text, entry_config, read_base, seeded, teacher_digest
from ..compare.results import Metric, choose_metric
from ..compare.run import check_trainings, sigterm_ends_children
from ..compare.study import Entry, Study
from ..compare.training import TRAIN, Training
from ..config_files import type_name
from ..report.history import Run, read_history
from ..report.say import say
from .best import write_best
from .space import Space, space_of

__all__ = ['tune']

RUNGS = 4  # validations of a trial at most; after the first and the second the worse ones end

# Settings that are a number of epochs or iterations, of schedulers and of hooks (ours, mmengine's and mmdet's).
SCHEDULER_TIMES = ('begin', 'end', 'T_max', 'step_size', 'total_steps', 'milestones', 'periods')
HOOK_TIMES = ('epochs', 'iters', 'length', 'stop_at', 'begin_epoch', 'begin_iter', 'switch_epoch', 'num_last_epochs')


@sigterm_ends_children()
def tune(
    config: str | Path,
    work_dir: str | Path,
    methods: list[str],
    trials: int,
    part: float,
    seed: int = 0,
    options: dict | None = None,
    metric: str | None = None,
) -> str:
    """Search method, share and number of pairs by the validation metric, and write ``table.md`` and ``best.yml``.

    The first trials are each method with all pairs and ``'auto'``'s share; Optuna's TPE sampler proposes the others. A
    trial has up to four validations, and after the first and the second successive halving ends it if it is not in the
    better half. The same call goes on where it stopped, in the middle of a trial, too. A trial that fails ends the
    search; one that fails again in the next call is left behind. ``best.yml`` is a study of the best choices, for
    ``tools/compare.py``.

    Args:
        config: A distillation config.
        work_dir: Where everything goes: ``trials.db``, a folder for each trial, ``table.md``, ``best.yml``.
        methods: Names of files of methods.
        trials: Total number of trials.
        part: Fraction of the config's schedule that a trial takes, above 0 and at most 1. The times of schedulers and
            hooks become the same part, whole numbers of 1 or more.
        seed: Of the trainings and of the search.
        options: Settings of the config, with dots in the keys.
        metric: Key of the validation metric; None for the config's main one.

    Returns:
        The table.

    Raises:
        ValueError: If Optuna is absent, a setting makes no sense, a method cannot be built, its validation will not
            have the metric, or the work dir holds another search.
    """
    optuna = _optuna()
    if not 0 < part <= 1:
        raise ValueError(f'--part must be above 0 and at most 1, got {part}')
    work_dir, console = Path(work_dir), Console(highlight=False)
    base = read_base(Path(config))
    study = Study(Path(config).resolve(), (Entry('search'),), (seed,), options or {})
    whole = entry_config(base, study, Entry('search'))
    space = space_of(Path(config), study.options, whole, methods)
    teacher = teacher_digest(whole)

    def training_of(entry: Entry) -> Training:
        short = shortened(seeded(entry_config(base, study, entry), seed), part)
        return Training(entry.label, seed, short, work_dir / entry.folder, teacher)

    by_default = [training_of(space.entry(**space.default(method))) for method in methods]
    chosen, rungs = choose_metric(metric, by_default[0].config, []), _validations(by_default[0].config)
    if chosen is None:
        raise ValueError('which metric is searched by is not known: name it with --metric')
    recipe = dict(config=str(study.config), methods=list(methods), part=part, seed=seed, options=repr(options or {}))
    recipe |= dict(metric=chosen.key, content=hashlib.sha256(as_text(whole).encode()).hexdigest()[:12], teacher=teacher)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if waiting := [training for training in by_default if training.state != 'finished']:
        check_trainings(waiting, chosen.key, console)
    with claimed(work_dir, recipe) as lock:
        search = optuna.create_study(
            study_name='tune',
            storage=f'sqlite:///{(work_dir / "trials.db").resolve()}',
            load_if_exists=True,
            direction='minimize' if chosen.less_is_better else 'maximize',
            sampler=optuna.samplers.TPESampler(seed=seed + _count(work_dir)),
            pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        )
        _take_up(search)
        for method in methods:
            search.enqueue_trial(space.default(method), skip_if_exists=True)

        def objective(trial: Any) -> float:
            entry = space.suggest(trial)
            training = training_of(entry)
            training.check()
            failed_before = training.state == 'failed'
            place = f'[{len(_ended(search)) + 1}/{trials}] {entry.label}'
            with console.status(escape(place)) as status:
                try:
                    values = _train(
                        trial, training, chosen, rungs, lock, lambda text: status.update(escape(f'{place}: {text}'))
                    )
                except ValueError as error:
                    if not failed_before:
                        raise
                    trial.set_user_attr('failed', training.note['reason'])
                    say(console, f'{place}: {error}, a second time; the search goes on without it')
                    raise optuna.TrialPruned from error
            early = '' if training.state == 'finished' else f', ended after {len(values)} of {rungs} validations'
            say(console, f'{place}: {chosen.key} {values[-1]:.4g}{early}')
            if early:
                raise optuna.TrialPruned
            return values[-1]

        def report() -> str:
            ranked = _ranked(search, chosen)
            best = [space.entry(**trial.params) for trial in ranked if 'failed' not in trial.user_attrs]
            write_best(work_dir / 'best.yml', best, study, chosen.key)
            table = _table(ranked, space, chosen, part, rungs, work_dir)
            write_whole(work_dir / 'table.md', table)
            return table

        while len(_ended(search)) < trials:
            search.optimize(objective, n_trials=1)
            report()
        table = report()
    say(console, table)
    return table


def shortened(config: Config, part: float) -> Config:
    """A config of a part of its schedule, with a validation and a checkpoint after each quarter of it, or each epoch.

    The times of its schedulers and hooks become the same part, as far as whole numbers allow, so that a trial has every
    stage of the whole training: rates decay, and AB learns the task in the end. A scheduler whose time vanishes is left
    out.

    Raises:
        ValueError: If it has no schedule.
    """
    config = copy.deepcopy(config)
    schedule, hooks = config.get('train_cfg') or {}, config.get('default_hooks') or {}
    key = next((key for key in ('max_epochs', 'max_iters') if schedule.get(key)), None)
    if key is None:
        raise ValueError(f'train_cfg={config.get("train_cfg")!r} has no max_epochs or max_iters to shorten')
    length = max(round(schedule[key] * part), 1)
    part = length / schedule[key]
    every = max(math.ceil(length / RUNGS), 1)
    schedule.update({key: length, 'val_interval': every})
    for name in ('dynamic_intervals', 'val_begin'):
        schedule.pop(name, None)
    by_epoch = key == 'max_epochs'
    saving = hooks.get('checkpoint') or dict(type='CheckpointHook')
    hooks['checkpoint'] = dict(saving, by_epoch=by_epoch, interval=every, max_keep_ckpts=1)
    if not by_epoch:  # else validations have no iteration
        hooks['logger'] = dict(hooks.get('logger') or dict(type='LoggerHook'), log_metric_by_epoch=False)
    config.default_hooks = hooks
    if config.get('param_scheduler'):
        ends = {by_epoch: length}
        config.param_scheduler = _shortened_schedulers(config.param_scheduler, part, ends)
    method = (config.get('model') or {}).get('method') or {}
    for hook in [*(config.get('custom_hooks') or []), *(method.get('hooks') or [])]:
        _shorten(hook, HOOK_TIMES, part)
    return config


def _shortened_schedulers(setting: list | dict, part: float, ends: dict[bool, int]) -> list | dict:
    """Schedulers, or lists of them by optimizer; ``ends`` is when they end by default, by ``by_epoch``."""
    if isinstance(setting, dict) and 'type' not in setting:
        return {name: _shortened_schedulers(each, part, ends) for name, each in setting.items()}
    schedulers = setting if isinstance(setting, list) else [setting]
    for one in schedulers:
        step = one.get('step_size', 1)
        _shorten(one, SCHEDULER_TIMES, part)
        if 'step_size' in one or type_name(one).startswith('Exponential'):
            # A step cannot be shorter than one epoch or iteration; it then stands for several of the whole schedule.
            one['gamma'] = one.get('gamma', 0.1) ** (one.get('step_size', 1) / (step * part))
        if 'milestones' in one:
            one['milestones'] = list(dict.fromkeys(one['milestones']))
    return [
        one for one in schedulers if one.get('begin', 0) < one.get('end', ends.get(one.get('by_epoch', True), math.inf))
    ]


def _shorten(settings: dict, times: tuple[str, ...], part: float) -> None:
    for key in times:
        if key in settings:
            settings[key] = _part_of(settings[key], part)


def _part_of(time: Any, part: float) -> Any:
    """A part of a time or of each of several; whole numbers stay whole, and those from 1 up at 1 or more."""
    if isinstance(time, (list, tuple)):
        return [_part_of(one, part) for one in time]
    if not isinstance(time, (int, float)):
        return time
    return max(round(time * part), min(time, 1)) if time % 1 == 0 else time * part


def _validations(config: Config) -> int:
    """How many a shortened config has."""
    schedule = config.train_cfg
    return math.ceil((schedule.get('max_epochs') or schedule.get('max_iters')) / schedule.val_interval)


class _EndsEarlyError(Exception):
    """What ends a training that is no longer among the better ones."""


def _train(
    trial: Any, training: Training, metric: Metric, rungs: int, lock: int, show: Callable[[str], None]
) -> list[float]:
    """Train until the end, or until the trial is no longer among the better ones; what each validation came to."""
    values: list[float] = []

    def look(text: str = '') -> None:
        show(text)
        for value in Run(read_history(training.folder)).curve(metric.key)[1][len(values) :]:
            values.append(value)
            trial.report(value, step=len(values))
            # After its last validation a training is about to finish, and one that has finished counts as whole.
            if len(values) < rungs and training.state != 'finished' and trial.should_prune():
                raise _EndsEarlyError

    if training.state != 'finished':
        try:
            training.run(TRAIN, {}, metric.key, look, lock)
        except _EndsEarlyError:
            return values
        training.check_finished()
    look()
    return values


def _take_up(search: Any) -> None:
    """Queue once more what a former call was at when it ended, or what failed in it."""
    states = _optuna().trial.TrialState
    taken = search.user_attrs.get('taken', [])
    for trial in search.get_trials(states=(states.RUNNING, states.FAIL)):
        if trial.number in taken:
            continue
        if trial.state == states.RUNNING:
            search.tell(trial.number, state=states.FAIL)
        search.enqueue_trial(trial.params)
        taken = [*taken, trial.number]
        search.set_user_attr('taken', taken)


def _ended(search: Any) -> list:
    """The trials that were trained to their end, or ended early."""
    states = _optuna().trial.TrialState
    return search.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))


def _ranked(search: Any, metric: Metric) -> list[Any]:
    """The trials that ended, from the best on; those that got further come first."""
    sign = 1 if metric.less_is_better else -1

    def order(trial: Any) -> tuple[int, float]:
        last = max(trial.intermediate_values, default=0)
        return -last, sign * trial.intermediate_values.get(last, 0.0)

    return sorted(_ended(search), key=order)


def _table(ranked: list[Any], space: Space, metric: Metric, part: float, rungs: int, work_dir: Path) -> str:
    lines = [f'| method | share | pairs | {metric.key} | seen |', '|---|---:|---:|---:|---|']
    for trial in ranked:
        last = max(trial.intermediate_values, default=0)
        whole = trial.state == _optuna().trial.TrialState.COMPLETE
        seen = 'all' if whole else f'ended after {last} of {rungs} validations'
        if failed := trial.user_attrs.get('failed'):
            seen = f'failed: {failed}'.replace('|', '\\|')
        value = f'{trial.intermediate_values[last]:.4g}' if last else '-'
        given = trial.params
        lines.append(f'| {given["method"]} | {given["share"]:.3g} | {space.kept(given)} | {value} | {seen} |')
    whole = shlex.join(['python', 'tools/compare.py', str(work_dir / 'best.yml'), '--work-dir', str(work_dir / 'best')])
    seen = f'One seed and {100 * part:.3g}% of the schedule'
    lines += ['', f'{seen}: train the best ones whole, over several seeds, by `{whole}`.', '']
    return '\n'.join(lines)


def _count(work_dir: Path) -> int:
    """How many trials have a folder, so that a call that goes on proposes other ones than the first did."""
    return len(list(work_dir.glob('*/run.json')))


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as exc:
        raise ValueError('tuning needs Optuna: pip install optuna') from exc
    return optuna
