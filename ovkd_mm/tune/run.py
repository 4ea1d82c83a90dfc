"""The search: trials in child processes, of which the worse half ends early."""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from ..checkpoints.atomic_save import write_whole
from ..compare.claim import claimed
from ..compare.configs import as_text, entry_config, read_base, seeded, teacher_digest
from ..compare.results import Metric, choose_metric
from ..compare.run import check_trainings, sigterm_ends_children
from ..compare.study import Entry, Study
from ..compare.training import TRAIN, Training
from ..report.history import logged_bytes, read_history
from ..report.say import say
from .best import write_best
from .ranking import ranked, table
from .shortened import shortened, validations
from .space import space_of

__all__ = ['tune']


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
        methods: Names of files of methods; several with a ``+`` between them are a sum.
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
    if trials < len(methods):
        raise ValueError(
            f'--trials {trials}: each of the {len(methods)} methods is tried at least once; ask for that many'
        )
    work_dir, console = Path(work_dir), Console(highlight=False)
    if '?' in str(work_dir.resolve()):
        raise ValueError(f'--work-dir {work_dir}: the data base of the trials cannot lie below a name with a ?')
    base = read_base(Path(config))
    study = Study(Path(config).resolve(), (Entry('search'),), (seed,), options or {})
    whole = entry_config(base, study, Entry('search'))
    space = space_of(Path(config), study.options, whole, methods)
    teacher = teacher_digest(whole)

    def training_of(entry: Entry) -> Training:
        short = shortened(seeded(entry_config(base, study, entry), seed), part)
        return Training(entry.label, seed, short, work_dir / entry.folder, teacher)

    by_default = [training_of(space.entry(**space.default(method))) for method in methods]
    chosen, rungs = choose_metric(metric, by_default[0].config, []), validations(by_default[0].config)
    if chosen is None:
        raise ValueError('which metric is searched by is not known: name it with --metric')
    recipe = dict(config=study.config.name, methods=list(methods), part=part, seed=seed, options=repr(options or {}))
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
            if not math.isfinite(values[-1]):  # which Optuna takes for a failure, to be tried for ever
                trial.set_user_attr('failed', f'{chosen.key} is {values[-1]}')
                raise optuna.TrialPruned
            if early:
                raise optuna.TrialPruned
            return values[-1]

        def report() -> str:
            ended = ranked(_ended(search), chosen)
            best = [space.entry(**trial.params) for trial in ended if 'failed' not in trial.user_attrs]
            write_best(work_dir / 'best.yml', best, study, chosen.key)
            text = table(ended, space, chosen, part, rungs, work_dir)
            write_whole(work_dir / 'table.md', text)
            return text

        while len(_ended(search)) < trials:
            search.optimize(objective, n_trials=1)
            report()
        text = report()
    say(console, text)
    return text


class _EndsEarlyError(Exception):
    """What ends a training that is no longer among the better ones."""


def _train(
    trial: Any, training: Training, metric: Metric, rungs: int, lock: int, show: Callable[[str], None]
) -> list[float]:
    """Train until the end, or until the trial is no longer among the better ones; what each validation came to."""
    values: list[float] = []
    size = 0

    def look(text: str = '') -> None:
        nonlocal size
        show(text)
        before, size = size, logged_bytes(training.folder)
        if size == before:
            return
        for rung, value in _validated(training, metric.key)[len(values) :]:
            values.append(value)
            trial.report(value, step=rung)
            # After its last validation a training is about to finish, and one that has finished counts as whole.
            if rung < rungs and training.state != 'finished' and trial.should_prune():
                raise _EndsEarlyError

    if training.state != 'finished':
        try:
            training.run(TRAIN, {}, metric.key, look, lock)
        except _EndsEarlyError:
            return values
        training.check_finished()
    look()
    return values


def _validated(training: Training, key: str) -> list[tuple[int, float]]:
    """The validations so far, each with its number: that of one in which a training was stopped may be missing."""
    schedule = training.config.train_cfg
    by_epoch = bool(schedule.get('max_epochs'))
    found: list[tuple[int, float]] = []
    time = rung = 0
    for entry in read_history(training.folder):
        time = entry.get('epoch', time) if by_epoch else entry['step']
        if key in entry:
            rung = max(round(time / schedule.val_interval), rung + 1)
            found.append((rung, entry[key]))
    return found


def _take_up(search: Any) -> None:
    """Queue again the trials that a former call left unfinished, or that failed in it."""
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


def _count(work_dir: Path) -> int:
    """How many trials have a folder, so that a call that goes on proposes other ones than the first did."""
    return len(list(work_dir.glob('*/run.json')))


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as exc:
        raise ValueError('tuning needs Optuna: pip install optuna') from exc
    return optuna
