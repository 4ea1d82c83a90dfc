"""A page that compares runs: a table, charts, and pictures; one HTML file that needs nothing else."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..checkpoints.atomic_save import write_whole
from .charts import COLORS, Bars, Curves, draw_svg

__all__ = ['Gallery', 'Series', 'write_report']


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
    """A row of the table; its number gives it its color.

    Attributes:
        name: What to call it.
        cells: Text of the table's other columns.
        description: What it is, in a line.
    """

    name: str
    cells: Sequence[str]
    description: str = ''


def write_report(
    path: str | Path,
    title: str,
    paragraphs: Sequence[str],
    columns: Sequence[str],
    series: Sequence[Series],
    charts: Sequence[Bars | Curves],
    details: Sequence[str] = (),
    gallery: Gallery | None = None,
) -> None:
    """Write the page; it is there whole or not at all.

    Args:
        path: The HTML file.
        title: Its heading.
        paragraphs: Plain text to stand above the table.
        columns: Names of the table's columns after the first.
        series: The rows.
        charts: What to draw of them, a bar or curve for each.
        details: Plain text to stand below the charts.
        gallery: Pictures to stand below the charts.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    environment.filters.update(svg=lambda chart: draw_svg(chart, [row.name for row in series]), jpeg=_jpeg)
    page = environment.get_template('page.html').render(
        title=title,
        paragraphs=paragraphs,
        columns=columns,
        series=series,
        charts=charts,
        details=details,
        gallery=gallery,
        colors=COLORS,
    )
    write_whole(Path(path), page)


def _jpeg(picture: np.ndarray) -> str:
    ok, data = cv2.imencode('.jpg', picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not ok:
        raise ValueError(f'a picture of shape {picture.shape} and type {picture.dtype} cannot be encoded')
    return base64.b64encode(data.tobytes()).decode()
