"""A page that compares runs: a table, their curves, and pictures; one HTML file that needs nothing else."""

import base64
import html
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from .history import Run

__all__ = ['Bars', 'Gallery', 'Series', 'write_comparison', 'write_report']

INK = '#010203'  # stands in figures for the page's text colour, which depends on the reader's theme
SERIES = '#0a0b'  # and a number: stand in for the runs' colours, which the page defines
COLOURS = 10


@dataclass(frozen=True)
class Gallery:
    """Pictures in rows and named columns.

    Attributes:
        caption: What they show.
        columns: Names of the columns.
        rows: Pictures of a row, as many as columns, ``[H, W, 3]``, uint8, RGB.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[np.ndarray]]


@dataclass(frozen=True)
class Series:
    """A row of a comparison's table, and its curve.

    Attributes:
        name: What to call it.
        cells: Text of the table's other columns.
        curve: Iterations and values.
        description: What it is, in a line.
    """

    name: str
    cells: Sequence[str]
    curve: tuple[Sequence[float], Sequence[float]]
    description: str = ''


@dataclass(frozen=True)
class Bars:
    """A bar for each row of a comparison.

    Attributes:
        title: What they show.
        values: Their lengths; None for a row without.
        errors: Half the lengths of the error bars; None for a row without.
    """

    title: str
    values: Sequence[float | None]
    errors: Sequence[float | None]


def write_report(
    path: str | Path,
    title: str,
    paragraphs: Sequence[str],
    runs: Sequence[Run],
    metric: str,
    gallery: Gallery | None = None,
) -> None:
    """Write the page; it is there whole or not at all.

    Args:
        path: The HTML file.
        title: Its heading.
        paragraphs: Plain text to stand above the table.
        runs: What to compare.
        metric: Key of the validation metric in the log, such as ``pascal_voc/mAP``.
        gallery: Pictures to stand below the curves.
    """
    name = metric.rpartition('/')[2]
    figures = [
        _curves('Task loss', [run.losses[:2] for run in runs], log=True),
        _curves('Distillation loss', [run.losses[::2] if any(run.losses[2]) else ([], []) for run in runs], log=True),
        _curves(name, [run.curve(metric) for run in runs]),
    ]
    series = [Series(run.name, _cells(run, metric), run.curve(metric), run.description) for run in runs]
    _write_page(
        path, title, paragraphs, (name, 'parameters', 'training'), series, figures, _gallery(gallery) if gallery else ''
    )


def write_comparison(
    path: str | Path,
    title: str,
    paragraphs: Sequence[str],
    columns: Sequence[str],
    series: Sequence[Series],
    metric: str,
    bars: Sequence[Bars],
    details: Sequence[str],
) -> None:
    """Write a page with a table, one chart of curves and some of bars; it is there whole or not at all.

    Args:
        path: The HTML file.
        title: Its heading.
        paragraphs: Plain text to stand above the table.
        columns: Names of the table's columns after the first.
        series: The rows.
        metric: What the curves show.
        bars: What the bars show, one chart each.
        details: Plain text to stand below the charts.
    """
    figures = [
        *(_bars(one, [row.name for row in series]) for one in bars),
        _curves(metric, [row.curve for row in series]),
    ]
    items = ''.join(f'<li>{html.escape(text)}</li>' for text in details)
    _write_page(path, title, paragraphs, columns, series, figures, f'<h2>Details</h2><ul>{items}</ul>')


def _write_page(
    path: str | Path,
    title: str,
    paragraphs: Sequence[str],
    columns: Sequence[str],
    series: Sequence[Series],
    figures: Sequence[str],
    end: str,
) -> None:
    page = Template(Path(__file__).with_name('page.html').read_text(encoding='utf-8')).substitute(
        title=html.escape(title),
        paragraphs=''.join(f'<p>{html.escape(text)}</p>' for text in paragraphs),
        columns=''.join(f'<th>{html.escape(name)}</th>' for name in columns),
        table=''.join(_table_row(index, row) for index, row in enumerate(series)),
        legend=''.join(f'<li>{_swatch(index)}{html.escape(row.name)}</li>' for index, row in enumerate(series)),
        charts=''.join(figures),
        end=end,
    )
    draft = Path(path).with_suffix('.tmp')
    draft.write_text(page, encoding='utf-8')
    os.replace(draft, path)


def _swatch(index: int) -> str:
    return f'<i style="background: var(--run-{index % COLOURS})"></i>'


def _cells(run: Run, metric: str) -> tuple[str, str, str]:
    values = run.curve(metric)[1]
    return (
        f'{values[-1]:.3f}' if values else '-',
        f'{run.parameters / 1e6:.1f} M' if run.parameters else '-',
        f'{run.seconds:.0f} s',
    )


def _table_row(index: int, row: Series) -> str:
    name = f'{_swatch(index)}{html.escape(row.name)}<small>{html.escape(row.description)}</small>'
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{html.escape(cell)}</td>" for cell in row.cells)}</tr>'


def _curves(title: str, curves: Sequence[tuple[Sequence[float], Sequence[float]]], log: bool = False) -> str:
    """One curve a row."""

    def draw(axes: Axes) -> None:
        axes.set(xlabel='iteration', yscale='log' if log else 'linear')
        axes.grid(alpha=0.15)
        if log:
            axes.yaxis.set_major_formatter('{x:g}')
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_formatter(NullFormatter())
        for index, (steps, values) in enumerate(curves):
            marker = 'o' if len(steps) <= 20 else None
            axes.plot(steps, values, color=_colour(index), marker=marker, markersize=4, linewidth=1.8)

    return _chart(title, draw)


def _bars(bars: Bars, names: Sequence[str]) -> str:
    """One bar a row, the first row on top; where all are nearly as long, without the part that they share."""
    values = [value for value in bars.values if value is not None]
    spread = max(values, default=0) - min(values, default=0)
    start = 0.0
    if values and 0 < spread < min(values) / 4:
        start = min(values) - spread / 2 - max((error or 0 for error in bars.errors), default=0)
        start = max(0.0, start)

    def draw(axes: Axes) -> None:
        axes.grid(alpha=0.15, axis='x')
        axes.set_yticks(range(len(names)), [name.replace('$', r'\$') for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(axis='y', length=0)
        for index, (value, error) in enumerate(zip(bars.values, bars.errors, strict=True)):
            if value is not None:
                axes.barh(index, value - start, left=start, height=0.62, color=_colour(index))
                if error is not None:
                    axes.errorbar(value, index, xerr=error, color=INK, capsize=4, linewidth=1.4)
        axes.set_xlim(left=start)

    title = bars.title + (f' (from {start:.4g} on)' if start else '')
    return _chart(title, draw)


def _colour(index: int) -> str:
    return f'{SERIES}{index % COLOURS:02x}'


def _chart(title: str, draw: Callable[[Axes], None]) -> str:
    """What ``draw`` draws, as SVG in the page's colours."""
    inked = ('grid.color', 'text.color', 'axes.edgecolor', 'axes.labelcolor', 'xtick.color', 'ytick.color')
    style = {
        'svg.fonttype': 'none',  # text stays text
        'svg.hashsalt': title,
        'font.family': 'sans-serif',
        'axes.spines.right': False,
        'axes.spines.top': False,
        **dict.fromkeys(inked, INK),
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(4.8, 3.2), layout='constrained')
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format='svg', transparent=True, metadata=dict(Date=None))
    svg = buffer.getvalue()
    svg = svg[svg.index('<svg') :].replace(INK, 'currentColor')
    for index in range(COLOURS):
        svg = svg.replace(_colour(index), f'var(--run-{index})')
    return f'<figure><figcaption>{html.escape(title)}</figcaption>{svg}</figure>'


def _gallery(gallery: Gallery) -> str:
    pictures = ''.join(
        f'<figure><img src="data:image/jpeg;base64,{_jpeg(picture)}" alt="{html.escape(column)}">'
        f'<figcaption>{html.escape(column)}</figcaption></figure>'
        for row in gallery.rows
        for column, picture in zip(gallery.columns, row, strict=True)
    )
    return (
        f'<h2>Pictures</h2><p>{html.escape(gallery.caption)}</p>'
        f'<div class="gallery" style="--columns: {len(gallery.columns)}">{pictures}</div>'
    )


def _jpeg(picture: np.ndarray) -> str:
    ok, data = cv2.imencode('.jpg', picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not ok:
        raise ValueError(f'a picture of shape {picture.shape} and type {picture.dtype} cannot be encoded')
    return base64.b64encode(data).decode()
