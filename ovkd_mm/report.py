"""A page that compares runs: a table, their curves, and pictures; one HTML file that needs nothing else."""

import base64
import html
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

__all__ = ['Gallery', 'Run', 'read_history', 'write_report']

DISTILLATION = 'loss_distill_'  # what the FeatureDistiller's losses begin with
INK = '#010203'  # stands in figures for the page's text colour, which depends on the reader's theme
SERIES = '#0a0b'  # and a number: stand in for the runs' colours, which the page defines
COLOURS = 6


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        name: What to call it.
        history: Its log, see :func:`read_history`.
        description: What it is, in a line.
        parameters: Number of parameters of what it trained.
    """

    name: str
    history: list[dict]
    description: str = ''
    parameters: int | None = None

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
    figures = [
        _chart('Task loss', [run.losses[:2] for run in runs], log=True),
        _chart('Distillation loss', [run.losses[::2] if any(run.losses[2]) else ([], []) for run in runs], log=True),
        _chart(metric.rpartition('/')[2], [run.curve(metric) for run in runs]),
    ]
    page = Template(Path(__file__).with_name('report.html').read_text()).substitute(
        title=html.escape(title),
        paragraphs=''.join(f'<p>{html.escape(text)}</p>' for text in paragraphs),
        metric=html.escape(metric.rpartition('/')[2]),
        table=''.join(_table_row(index, run, metric) for index, run in enumerate(runs)),
        legend=''.join(f'<li>{_swatch(index)}{html.escape(run.name)}</li>' for index, run in enumerate(runs)),
        charts=''.join(figures),
        gallery=_gallery(gallery) if gallery else '',
    )
    draft = Path(path).with_suffix('.tmp')
    draft.write_text(page, encoding='utf-8')
    os.replace(draft, path)


def _swatch(index: int) -> str:
    return f'<i style="background: var(--run-{index % COLOURS})"></i>'


def _table_row(index: int, run: Run, metric: str) -> str:
    values = run.curve(metric)[1]
    cells = (
        f'{values[-1]:.3f}' if values else '-',
        f'{run.parameters / 1e6:.1f} M' if run.parameters else '-',
        f'{run.seconds:.0f} s',
    )
    name = f'{_swatch(index)}{html.escape(run.name)}<small>{html.escape(run.description)}</small>'
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _chart(title: str, curves: Sequence[tuple[list[int], list[float]]], log: bool = False) -> str:
    """Draw one curve a run as SVG, in the page's colours."""
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
        axes = figure.add_subplot(xlabel='iteration', yscale='log' if log else 'linear')
        axes.grid(alpha=0.15)
        if log:
            axes.yaxis.set_major_formatter('{x:g}')
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_formatter(NullFormatter())
        for index, (steps, values) in enumerate(curves):
            marker = 'o' if len(steps) <= 20 else None
            axes.plot(steps, values, color=f'{SERIES}{index % COLOURS:02x}', marker=marker, markersize=4, linewidth=1.8)
        buffer = io.StringIO()
        figure.savefig(buffer, format='svg', transparent=True, metadata=dict(Date=None))
    svg = buffer.getvalue()
    svg = svg[svg.index('<svg') :].replace(INK, 'currentColor')
    for index in range(COLOURS):
        svg = svg.replace(f'{SERIES}{index:02x}', f'var(--run-{index})')
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
