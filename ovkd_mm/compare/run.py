"""A study from its beginning to its table."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from ..report.say import say
from .claim import claimed
from .configs import as_text, entry_config, read_base, read_plain, seeded, teacher_digest
from .results import Result, Row, choose_metric
from .study import TEACHER, Entry, Study, StudyTeacher
from .table import write_tables
from .training import NOTE, TRAIN, Training

__all__ = [
    'check_trainings',
    'rows_of',
    'run_study',
    'sigterm_ends_children',
    'taught_by',
    'teacher_training',
    'teachers_row',
    'train_all',
    'trainings_of',
]


def run_study(study: Study, work_dir: str | Path, whole: Study | None = None) -> list[Row]:
    """Train what is not trained yet, one after the other, and write ``table.md``, ``results.json``, ``report.html``.

    What a former call with the same work dir finished is kept; what it began is resumed. A training that fails is
    reported, and the others go on. The tables are written anew after each.

    Args:
        study: What to compare.
        work_dir: Where everything goes.
        whole: The study of which this one is a part; the tables have what else of it the work dir holds, too.

    Returns:
        The rows of what was asked for.

    Raises:
        ValueError: If a config cannot be built, or the work dir holds something else; before anything is trained.
        FileNotFoundError: If the teacher's checkpoint is missing; likewise.
    """
    work_dir, console = Path(work_dir), Console(highlight=False)
    # What is wrong with the settings is said before anything is written.
    untaught = {'model.teacher.checkpoint': None} if study.teacher else {}
    trainings_of(replace(study, options=untaught | study.options), work_dir)
    with claimed(work_dir, dict(config=study.config.name)) as lock:
        # Read after the claim, since until then another call may have been at work here.
        teacher = teacher_training(study.teacher, work_dir) if study.teacher else None
        if teacher:
            if teacher.state != 'finished':
                _check_untaught(study, teacher, work_dir, console)
            train_all([teacher], study.metric, lock, console)
            study = taught_by(study, teacher)
        trainings = trainings_of(study, work_dir)
        others = _others(study, whole, work_dir, console) if whole else []
        shown = _together(study, whole, others) if whole and others else study

        def rows(of: Study, runs: Sequence[Training]) -> list[Row]:
            first = [teachers_row(teacher, study.metric)] if teacher else []
            return [*first, *rows_of(of, runs)]

        def tabulate() -> str:
            return write_tables(work_dir, shown, rows(shown, [*trainings, *others]))

        train_all(trainings, study.metric, lock, console, tabulate)
        say(console, tabulate())
    files = ', '.join(str(work_dir / name) for name in ('table.md', 'results.json', 'report.html'))
    say(console, files)
    return rows(study, trainings)


def _others(study: Study, whole: Study, work_dir: Path, console: Console) -> list[Training]:
    """The runs of the whole study that the work dir holds beside those of its part."""
    held = tuple(one for one in whole.entries if any((work_dir / one.folder).glob(f'*/{NOTE}')))
    asked = {(entry.label, seed) for entry in study.entries for seed in study.seeds}
    # The part's options name the teacher that was trained.
    found = trainings_of(replace(whole, entries=held, options=study.options), work_dir) if held else []
    others = []
    for training in found:
        if training.note and (training.label, training.seed) not in asked:
            try:
                training.check()
            except ValueError as error:
                say(console, f'{training.name} is left out of the tables: {error}')
            else:
                others.append(training)
    return others


def _together(study: Study, whole: Study, others: Sequence[Training]) -> Study:
    """A part of a study and its other runs, in the order of the whole."""
    labels = {entry.label for entry in study.entries} | {training.label for training in others}
    known = [entry for entry in whole.entries if entry.label in labels]
    more = [entry for entry in study.entries if entry not in known]
    seeds = sorted({*study.seeds, *(training.seed for training in others)})
    return replace(study, entries=(*known, *more), seeds=tuple(seeds))


def teacher_training(teacher: StudyTeacher, work_dir: Path) -> Training:
    """The run of a study's teacher.

    Raises:
        ValueError: If its config cannot be read, or the settings do not fit.
    """
    config = read_plain(teacher.config, teacher.options)
    return Training(TEACHER, teacher.seed, seeded(config, teacher.seed), work_dir / TEACHER / f'seed{teacher.seed}')


def taught_by(study: Study, teacher: Training) -> Study:
    """The study with the teacher that was trained for it.

    Raises:
        ValueError: If that training failed.
    """
    teacher.check_finished()
    found = {'model.teacher.model': str(teacher.file.resolve()), 'model.teacher.checkpoint': teacher.checkpoint}
    return replace(study, options=found | study.options)


def teachers_row(teacher: Training, metric: str | None) -> Row:
    """The row of a study's teacher."""
    return Row(Entry(TEACHER, TEACHER), [Result(teacher, choose_metric(metric, teacher.config, [teacher]))])


@contextlib.contextmanager
def sigterm_ends_children() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that child processes are ended, too."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)  # as before: children forked later must die of it again


@sigterm_ends_children()
def train_all(
    trainings: Sequence[Training],
    metric: str | None,
    lock: int,
    console: Console,
    after_each: Callable[[], object] = lambda: None,
) -> None:
    """Train what is not trained yet, one after the other, the failed ones once more.

    Args:
        trainings: Runs, each in a folder of its own.
        metric: Key of a metric that each validation must have; None for the config's main one.
        lock: File descriptor that each training holds open.
        console: Where to show the progress.
        after_each: What to do after each training.

    Raises:
        ValueError: If a config cannot be built or a folder holds something else; before anything is trained.
    """
    for training in trainings:
        training.check(metric)
    waiting = [training for training in trainings if training.state != 'finished']
    kept = len(trainings) - len(waiting)
    count = '1 run' if len(trainings) == 1 else f'{len(trainings)} runs'
    console.print(f'{count}, {kept} finished before' if kept else count)
    facts = check_trainings(waiting, metric, console) if waiting else {}
    for number, training in enumerate(trainings, start=1):
        if training.state == 'finished':
            continue
        place = f'[{number}/{len(trainings)}] {training.name}'
        with console.status(escape(f'{place}: starts')) as status:

            def show(text: str, place: str = place, status: Status = status) -> None:
                status.update(escape(f'{place}: {text}'))

            wanted = choose_metric(metric, training.config, [])
            training.run(TRAIN, facts[training.label], wanted.key if wanted else None, show, lock)
        after_each()
        say(console, f'{place}: {_outcome(training, metric)}')


def trainings_of(study: Study, work_dir: Path) -> list[Training]:
    """All runs, seed by seed, so that there is something to compare early.

    Raises:
        ValueError: If two entries come to the same config.
    """
    base = read_base(study.config)
    configs = {entry.label: entry_config(base, study, entry) for entry in study.entries}
    labels: dict[str, str] = {}
    for label, config in configs.items():
        other = labels.setdefault(as_text(config), label)
        if other != label:
            raise ValueError(
                f'methods: {other!r} and {label!r} are the very same training; a setting that should tell them apart '
                "changes nothing (the method's are below model.method)"
            )
    digests = {label: teacher_digest(config) for label, config in configs.items()}
    return [
        Training(
            entry.label,
            seed,
            seeded(configs[entry.label], seed),
            work_dir / entry.folder / f'seed{seed}',
            digests[entry.label],
        )
        for seed in study.seeds
        for entry in study.entries
    ]


def check_trainings(waiting: Sequence[Training], metric: str | None, console: Console) -> dict[str, dict]:
    """Build each label's model once, in a child process, and see that the validation will have the metric.

    Args:
        waiting: Trainings that are not finished.
        metric: Key of a metric that each validation must have; None for the one that ``save_best`` names, if any.
        console: Where to show the progress.

    Returns:
        By label what to note of its runs: where they take place, and the student's parameters.

    Raises:
        ValueError: If one cannot be built, or will not have the metric.
    """
    firsts: dict[str, Training] = {}
    for training in waiting:
        firsts.setdefault(training.label, training)
    with tempfile.TemporaryDirectory() as folder, console.status(f'building {len(firsts)} models to check them'):
        files = {label: f'{folder}/{index}.py' for index, label in enumerate(firsts)}
        for label, training in firsts.items():
            training.config.dump(files[label])
        out = Path(folder, 'found.json')
        command = [sys.executable, '-m', f'{__package__}.check', str(out), metric or '', *files.values()]
        # From Python 3.11 on, a config in the folder of the call is no module, whatever its name.
        env = os.environ | dict(PYTHONSAFEPATH='1')
        child = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=env
        )
        if not out.is_file():
            raise ValueError(f'the configs cannot be built: {child.stdout[-3000:]}')
        found = json.loads(out.read_text())
    if errors := [f'  {label}: {found["errors"][file]}' for label, file in files.items() if file in found['errors']]:
        raise ValueError('\n'.join(['nothing is trained, since something is wrong with these:', *errors]))
    for label, file in files.items():
        if doubt := found['doubts'].get(file):
            say(console, f'{label}: the metric is not checked beforehand: {doubt}')
    environment = found['environment']
    return {label: dict(environment=environment, parameters=found['parameters'][file]) for label, file in files.items()}


def _check_untaught(study: Study, teacher: Training, work_dir: Path, console: Console) -> None:
    """Check the students before their teacher takes its hours, with one that has learned nothing."""
    with tempfile.TemporaryDirectory() as folder:
        teacher.config.dump(file := f'{folder}/teacher.py')
        parts = dict(model=file, checkpoint=None, allow_random=True)
        options = {f'model.teacher.{key}': value for key, value in parts.items()}
        check_trainings(trainings_of(replace(study, options=options | study.options), work_dir), study.metric, console)


def rows_of(study: Study, trainings: Sequence[Training]) -> list[Row]:
    """The rows of a study's table, as far as its runs have come."""
    metric = choose_metric(study.metric, trainings[0].config, trainings)
    return [
        Row(entry, [Result(one, metric) for one in trainings if one.label == entry.label]) for entry in study.entries
    ]


def _outcome(training: Training, metric: str | None) -> str:
    if training.state == 'failed':
        return f'failed: {training.note["reason"]} (all of it in {training.log})'
    result = Result(training, choose_metric(metric, training.config, [training]))
    if result.metric is None:
        return f'finished without a validation metric in {training.note["minutes"]:.1f} min'
    return f'{result.metric.key} {result.final:.4g} in {training.note["minutes"]:.1f} min'
