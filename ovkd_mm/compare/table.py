"""The files that tell what came out of a study."""

import json
from collections.abc import Sequence
from pathlib import Path

from ..checkpoints.atomic_save import write_whole
from ..config_files import from_here
from ..report.charts import Bars, Curves
from ..report.page import Gallery, Series, write_report
from .results import Row
from .study import Entry, Study, described

__all__ = ['write_tables']


def write_tables(
    work_dir: Path, study: Study, rows: Sequence[Row], paragraphs: Sequence[str] = (), gallery: Gallery | None = None
) -> str:
    """Write ``table.md``, ``results.json`` and ``report.html`` into the work dir.

    Args:
        work_dir: The study's.
        study: What is compared.
        rows: What came out, of its entries or of others beside them.
        paragraphs: Plain text to stand at the top of the report.
        gallery: Pictures to stand in the report.

    Returns:
        The text of the first.
    """
    # The students' rows are the last ones.
    metric = next((result.metric for row in reversed(rows) for result in row.results if result.metric), None)
    key = metric.key if metric else 'metric'
    columns = [key, 'best', 's/iteration', 'peak memory', 'parameters', 'seeds']
    finals = [abs(result.final) for row in rows for result in row.finished]
    decimals = 2 if finals and max(finals) > 1.5 else 4  # percent, or parts of 1
    cells = [row.cells(decimals) for row in rows]
    if study.published:
        columns.append('published')
        cells = [[*texts, study.published.get(row.entry.label, '-')] for row, texts in zip(rows, cells, strict=True)]
    summary, details = _summary(study, key), [*_each_run(study, rows, key, decimals), *_details(study, rows)]
    title = f'Methods compared on {study.config.stem}'

    lines = [
        f'# {title}',
        '',
        _line(['method', *columns]),
        _line(['---', *['---:'] * 5, *['---'] * (len(columns) - 5)]),
    ]
    lines += [_line([_label(row, key), *texts]) for row, texts in zip(rows, cells, strict=True)]
    entries = [row.entry for row in rows if row.entry != Entry(row.entry.label, row.entry.label)]
    notes = [*summary, *(f'{entry.label}: {entry.description}.' for entry in entries), *details]
    text = '\n'.join([*lines, '', *(f'- {note}' for note in notes)])
    write_whole(work_dir / 'table.md', f'{text}\n')
    write_whole(work_dir / 'results.json', json.dumps(_as_json(study, rows, key), indent=1, default=str))
    write_report(
        work_dir / 'report.html',
        title,
        [*paragraphs, *summary],
        columns,
        [Series(_label(row, key), texts, row.entry.description) for row, texts in zip(rows, cells, strict=True)],
        _charts(rows, key),
        details,
        gallery,
    )
    return text


def _label(row: Row, metric: str) -> str:
    """What a row is called; with its metric, if that is another one, as a teacher's may be."""
    others = {result.metric.key for result in row.results if result.metric} - {metric}
    return ', '.join([row.entry.label, *sorted(others)])


def _summary(study: Study, metric: str) -> list[str]:
    """What the figures are."""
    seeds = ', '.join(map(str, study.seeds))
    if len(study.seeds) == 1:
        spread = f'One seed ({seeds}), so nothing is known of how far another one would move these figures.'
    else:
        spread = f'Mean ± sample standard deviation over {len(study.seeds)} seeds ({seeds}).'
    return [
        f'{metric} of the last validation, and the best of all validations, which flatters, being picked by the '
        f'validation data themselves. {spread}'
    ]


def _each_run(study: Study, rows: Sequence[Row], metric: str, decimals: int) -> list[str]:
    """The figures behind the means, so that others can join theirs to them."""
    if len(study.seeds) == 1:
        return []
    each = []
    for row in rows:
        finals = {result.training.seed: f'{result.final:.{decimals}f}' for result in row.finished}
        if finals:
            each.append(f'{row.entry.label} {", ".join(finals.get(seed, "-") for seed in study.seeds)}')
    return [f'{metric} of seeds {", ".join(map(str, study.seeds))}: {"; ".join(each)}.'] if each else []


def _details(study: Study, rows: Sequence[Row]) -> list[str]:
    """How they came about."""
    details = [
        f'Base config {from_here(study.config)}'
        + (f' with {", ".join(described(study.options))}.' if study.options else ' as it is.'),
        'Seconds per iteration are those of the logged training iterations; start, validation and what a method does '
        'before the first iteration are left out. Peak memory is what torch allocated on a GPU, else the resident set '
        "of the main process. Parameters are the student's, as it is used after training.",
    ]
    places: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        for result in row.finished:
            places.setdefault(tuple(result.training.note['environment'].values()), []).append(result.training.name)
    for (commit, versions, device), names in places.items():
        which = '' if len(places) == 1 else f'{"; ".join(names)}: '
        details.append(f'{which}{device}; {versions}; commit {commit}.')
    return details


def _as_json(study: Study, rows: Sequence[Row], metric: str) -> dict:
    found = []
    for row in rows:
        one = dict(label=row.entry.label, method=row.entry.method, cfg_options=row.entry.options)
        for name in ('final', 'best', 'seconds_per_iteration'):
            mean, std = row.statistic(name) or (None, None)
            one[name] = dict(mean=mean, std=std)
        found.append(one | dict(seeds=len(row.finished), runs=[result.as_json() for result in row.results]))
    return dict(
        config=from_here(study.config), cfg_options=study.options, seeds=study.seeds, metric=metric, methods=found
    )


def _charts(rows: Sequence[Row], metric: str) -> list[Bars | Curves]:
    over = ', mean over seeds' if any(len(row.finished) > 1 for row in rows) else ''
    bars = {'final': f'{metric} at the end', 'seconds_per_iteration': 'seconds per iteration'}
    curves = dict(curve=metric, task_loss='task loss', distillation_loss='distillation loss')
    charts: list[Bars | Curves] = []
    for name, title in bars.items():
        statistics = [row.statistic(name) or (None, None) for row in rows]
        charts.append(Bars(title, *zip(*statistics, strict=True)))
    for name, title in curves.items():
        found = [row.curve(name) for row in rows]
        if any(steps for steps, _ in found):
            charts.append(Curves(title + over, found, log=name != 'curve'))
    return charts


def _line(cells: Sequence[str]) -> str:
    return '| ' + ' | '.join(cell.replace('|', r'\|') for cell in cells) + ' |'
