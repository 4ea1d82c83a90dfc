"""A picture of two networks as columns of places, with the pairs drawn between them; plain SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import escape

__all__ = ['Column', 'Join', 'Stage', 'pairs_svg']

MARGIN, GUTTER, GAP = 28, 84, 230  # around all, for the sizes at the left, between the columns at least
TOP, ROW, BOX = 104, 74, 50  # height of the heads, of a row, of a box in it
CHARACTER = 8.2  # width of one in a box
INK, FAINT, LINE = '#0f172a', '#64748b', '#94a3b8'
STUDENT, TEACHER, UNUSED = ('#dbeafe', '#2563eb'), ('#fef3c7', '#d97706'), ('#f8fafc', '#94a3b8')
JOIN = ('#dcfce7', '#16a34a')


@dataclass(frozen=True)
class Stage:
    """A place.

    Attributes:
        name: Its path.
        size: ``(H, W)`` of its map.
        text: What else to say of it.
    """

    name: str
    size: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class Column:
    """A network.

    Attributes:
        title: Its name.
        text: What else to say of it.
        stages: Its places in the order of its forward.
    """

    title: str
    text: str
    stages: Sequence[Stage]


@dataclass(frozen=True)
class Join:
    """A pair.

    Attributes:
        student: Name of the student's place.
        teacher: Name of the teacher's place.
        text: What leads from one to the other.
    """

    student: str
    teacher: str
    text: str


def pairs_svg(student: Column, teacher: Column, joins: Sequence[Join]) -> str:
    """The picture, a row for each spatial size; the places of a size stand at the bottom of its rows.

    Args:
        student: The left column.
        teacher: The right column.
        joins: What to draw between them.
    """
    rows = _rows(student, teacher)
    gap = round(max(GAP, *(60 + _sign_width(join) for join in joins), 0))
    left, right = MARGIN + GUTTER, MARGIN + GUTTER + _width(student) + gap
    width, height = right + _width(teacher) + MARGIN, TOP + ROW * sum(rows.values()) + MARGIN
    used = {join.student for join in joins}, {join.teacher for join in joins}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="14" role="img" '
        f'aria-label="{escape(f"The pairs of {student.title} and {teacher.title}")}">',
        f'<rect width="{width}" height="{height}" rx="12" fill="#ffffff"/>',
        *_grid_sizes(rows, width),
    ]
    tops = _tops(student, rows), _tops(teacher, rows)
    for kind, column, x, colors, top, names in (
        ('student', student, left, STUDENT, tops[0], used[0]),
        ('teacher', teacher, right, TEACHER, tops[1], used[1]),
    ):
        parts += _column(kind, column, x, colors, top, names)
    ends = left + _width(student), right
    for join in joins:
        parts += _join(join, ends, tops[0][join.student] + BOX / 2, tops[1][join.teacher] + BOX / 2)
    return '\n'.join([*parts, '</svg>', ''])


def _rows(student: Column, teacher: Column) -> dict[tuple[int, ...], int]:
    """The spatial sizes, the largest first, and how many rows each takes."""
    counts = [[stage.size for stage in column.stages] for column in (student, teacher)]
    sizes = sorted({*counts[0], *counts[1]}, key=lambda size: (-size[0] * size[-1] if size else 0, size))
    return {size: max(count.count(size) for count in counts) for size in sizes}


def _tops(column: Column, rows: dict[tuple[int, ...], int]) -> dict[str, float]:
    """Where the box of each place begins."""
    tops, above = {}, float(TOP)
    for size, count in rows.items():
        names = [stage.name for stage in column.stages if stage.size == size]
        for index, name in enumerate(names):
            tops[name] = above + ROW * (count - len(names) + index) + (ROW - BOX) / 2
        above += ROW * count
    return tops


def _width(column: Column) -> int:
    longest = max(len(text) for stage in column.stages for text in (stage.name, stage.text))
    return round(max(190, CHARACTER * longest + 28, 9 * len(column.title)))


def _grid_sizes(rows: dict[tuple[int, ...], int], width: int) -> list[str]:
    """The sizes at the left, with lines between them."""
    parts, above = [], TOP
    for size, count in rows.items():
        parts.append(f'<path d="M{MARGIN} {above}H{width - MARGIN}" stroke="#e2e8f0"/>')
        middle = above + ROW * count / 2 + 5
        text = 'x'.join(map(str, size))
        parts.append(f'<text x="{MARGIN}" y="{middle:.0f}" fill="{FAINT}" font-weight="bold">{text}</text>')
        above += ROW * count
    return parts


def _column(
    kind: str, column: Column, x: int, colors: tuple[str, str], tops: dict[str, float], used: set[str]
) -> list[str]:
    """Head and boxes of a network, and the way of its forward."""
    width = _width(column)
    middle = x + width / 2
    parts = [
        _text(middle, 34, kind.upper(), 12, colors[1], 'font-weight="bold" letter-spacing="1"'),
        _text(middle, 56, column.title, 14, INK, 'font-weight="bold"'),
        _text(middle, 76, column.text, 12, FAINT),
    ]
    begins = [84.0, *(tops[stage.name] + BOX for stage in column.stages)]
    for begin, stage in zip(begins, column.stages, strict=False):
        if (end := tops[stage.name]) > begin:
            tip = f'M{middle - 4:.0f} {end - 7:.0f}l4 6l4 -6'
            way = f'M{middle:.0f} {begin:.0f}V{end - 2:.0f}{tip}'
            parts.append(f'<path d="{way}" stroke="{LINE}" fill="none" stroke-width="1.5"/>')
    for stage in column.stages:
        top = tops[stage.name]
        fill, stroke = colors if stage.name in used else UNUSED
        dashes = '' if stage.name in used else ' stroke-dasharray="5 4"'
        parts += [
            f'<rect x="{x}" y="{top:.0f}" width="{width}" height="{BOX}" rx="8" fill="{fill}" stroke="{stroke}" '
            f'stroke-width="1.5"{dashes}/>',
            _text(middle, top + 21, stage.name, 14, INK),
            _text(middle, top + 39, stage.text, 12, FAINT),
        ]
    return parts


def _text(x: float, y: float, text: str, size: int, color: str, more: str = '') -> str:
    """A text around ``x``."""
    place = f'x="{x:.0f}" y="{y:.0f}" text-anchor="middle" font-size="{size}" fill="{color}"'
    return f'<text {place} {more}'.rstrip() + f'>{escape(text)}</text>'


def _join(join: Join, ends: tuple[int, int], begin: float, end: float) -> list[str]:
    """A line from a student's box to a teacher's, with a sign on it."""
    x, y, width = sum(ends) / 2, (begin + end) / 2, _sign_width(join)
    way = f'M{ends[0]} {begin:.0f}C{x:.0f} {begin:.0f} {x:.0f} {end:.0f} {ends[1]} {end:.0f}'
    return [
        f'<path d="{way}" stroke="{JOIN[1]}" fill="none" stroke-width="2.5"/>',
        f'<rect x="{x - width / 2:.0f}" y="{y - 12:.0f}" width="{width:.0f}" height="24" rx="12" fill="{JOIN[0]}" '
        f'stroke="{JOIN[1]}"/>',
        _text(x, y + 4, join.text, 12, INK),
    ]


def _sign_width(join: Join) -> float:
    return 7.0 * len(join.text) + 20
