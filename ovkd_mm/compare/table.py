"""The files that tell what came out of a study."""

import json
from collections.abc import Sequence
from pathlib import Path

from ..report.page import Bars, Series, write_comparison
from .results import Row
from .study import NONE, Entry, Study
from .training import write_whole

__all__ = ['write_tables']


def write_tables(work_dir: Path, study: Study, rows: Sequence[Row]) -> str:
    """Write ``table.md``, ``results.json`` and ``report.html`` into the work dir.

    Returns:
        The text of the first.
    """
    metric = next((result.metric for row in rows for result in row.results if result.metric), None)
    key = metric.key if metric else 'metric'
    columns = [key, 'best', 's/iteration', 'peak memory', 'parameters', 'seeds']
    finals = [abs(result.final) for row in rows for result in row.finished]
    decimals = 2 if finals and max(finals) > 1.5 else 4  # percent, or parts of 1
    cells = [row.cells(decimals) for row in rows]
    summary, details = _summary(study, key), _details(study, rows)
    title = f'{len(rows)} trainings of {study.config.stem}'

    lines = [f'# {title}', '', _line(['method', *columns]), _line(['---', *['---:'] * 5, '---'])]
    lines += [_line([row.label, *texts]) for row, texts in zip(rows, cells, strict=True)]
    entries = [
        f'{entry.label}: {_describe(entry)}.' for entry in study.entries if entry != Entry(entry.label, entry.label)
    ]
    lines += ['', *(f'- {note}' for note in [*summary, *entries, *details])]
    text = '\n'.join(lines)
    write_whole(work_dir / 'table.md', f'{text}\n')
    write_whole(work_dir / 'results.json', json.dumps(_as_json(study, rows, key), indent=1, default=str))
    write_comparison(
        work_dir / 'report.html',
        title,
        summary,
        columns,
        [
            Series(row.label, texts, row.curve, _describe(entry))
            for row, texts, entry in zip(rows, cells, study.entries, strict=True)
        ],
        key + _of_seeds(rows),
        [
            _bars(f'{key} at the end', rows, 'final'),
            _bars('seconds per iteration', rows, 'seconds_per_iteration'),
        ],
        details,
    )
    return text


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


def _describe(entry: Entry) -> str:
    method = {None: "the base config's method", NONE: 'the student alone'}.get(entry.method, f'method {entry.method}')
    return ', '.join([method, *_settings(entry.options)])


def _details(study: Study, rows: Sequence[Row]) -> list[str]:
    """How they came about."""
    details = [
        f'Base config {_near(study.config)}'
        + (f' with {", ".join(_settings(study.options))}.' if study.options else ' as it is.'),
        'Seconds per iteration are those of the logged training iterations; start, validation and what a method does '
        'before the first iteration are left out. Peak memory is what torch allocated on a GPU, else the resident set '
        "of the main process. Parameters are the student's, as it is used after training.",
    ]
    places = {}
    for row in rows:
        for result in row.finished:
            places.setdefault(tuple(result.training.note['environment'].values()), []).append(result.training.name)
    for (commit, versions, device), names in places.items():
        which = '' if len(places) == 1 else f'{"; ".join(names)}: '
        details.append(f'{which}{device}; {versions}; commit {commit}.')
    return details


def _settings(options: dict) -> list[str]:
    return [f'{key}={value}' for key, value in options.items()]


def _as_json(study: Study, rows: Sequence[Row], metric: str) -> dict:
    found = []
    for row, entry in zip(rows, study.entries, strict=True):
        one = dict(label=row.label, method=entry.method, cfg_options=entry.options)
        for name in ('final', 'best', 'seconds_per_iteration'):
            mean, std = row.statistic(name) or (None, None)
            one[name] = dict(mean=mean, std=std)
        found.append(one | dict(seeds=len(row.finished), runs=[result.as_json() for result in row.results]))
    return dict(
        config=str(_near(study.config)), cfg_options=study.options, seeds=study.seeds, metric=metric, methods=found
    )


def _bars(title: str, rows: Sequence[Row], name: str) -> Bars:
    statistics = [row.statistic(name) or (None, None) for row in rows]
    return Bars(title, [mean for mean, _ in statistics], [std for _, std in statistics])


def _of_seeds(rows: Sequence[Row]) -> str:
    return ', mean over seeds' if any(len(row.finished) > 1 for row in rows) else ''


def _near(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _line(cells: Sequence[str]) -> str:
    return '| ' + ' | '.join(cell.replace('|', r'\|') for cell in cells) + ' |'
