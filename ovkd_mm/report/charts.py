"""Charts as SVG whose colors and fonts are the page's."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

__all__ = ['COLORS', 'Bars', 'Curves', 'draw_svg']

INK = '#010203'  # stands in figures for the page's text color, which depends on the reader's theme
SERIES = '#0a0b'  # and a number: stand in for the runs' colors, which the page defines
COLORS = 10
STYLES = ('-', '--', ':')  # of the first runs, the next ones in the same colors, and all others


@dataclass(frozen=True)
class Curves:
    """A curve a run.

    Attributes:
        title: What they show.
        curves: Iterations and values.
        log: Whether the values are on a logarithmic scale.
    """

    title: str
    curves: Sequence[tuple[Sequence[float], Sequence[float]]]
    log: bool = False

    def draw(self, axes: Axes, names: Sequence[str]) -> None:
        """Draw the curves, unnamed, since the page has a legend."""
        axes.set(xlabel='iteration', yscale='log' if self.log else 'linear')
        axes.grid(alpha=0.15)
        if self.log:
            axes.yaxis.set_major_formatter('{x:g}')
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_formatter(NullFormatter())
        for index, (steps, values) in enumerate(self.curves):
            marker = 'o' if len(steps) <= 20 else None
            style = STYLES[min(index // COLORS, len(STYLES) - 1)]
            axes.plot(steps, values, style, color=_color(index), marker=marker, markersize=4, linewidth=1.8)


@dataclass(frozen=True)
class Bars:
    """A bar a run, the first on top; where all are nearly as long, without the part that they share.

    Attributes:
        what: What they show.
        values: Their lengths; None for a run without.
        errors: Half the lengths of the error bars; None for a run without.
    """

    what: str
    values: Sequence[float | None]
    errors: Sequence[float | None]

    @property
    def title(self) -> str:
        """What they show, and where they begin."""
        return self.what + (f' (from {self._start:.4g} on)' if self._start else '')

    @property
    def _start(self) -> float:
        values = [value for value in self.values if value is not None]
        spread = max(values, default=0) - min(values, default=0)
        if not values or not 0 < spread < min(values) / 4:
            return 0.0
        return max(0.0, min(values) - spread / 2 - max(error or 0 for error in self.errors))

    def draw(self, axes: Axes, names: Sequence[str]) -> None:
        """Draw the bars, each with its run's name."""
        start = self._start
        axes.grid(alpha=0.15, axis='x')
        axes.set_yticks(range(len(names)), [name.replace('$', r'\$') for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(axis='y', length=0)
        for index, (value, error) in enumerate(zip(self.values, self.errors, strict=True)):
            if value is not None:
                axes.barh(index, value - start, left=start, height=0.62, color=_color(index))
                if error is not None:
                    axes.errorbar(value, index, xerr=error, color=INK, capsize=4, linewidth=1.4)
        if min(filter(None, self.values), default=0) >= 0:
            axes.set_xlim(left=start)


def draw_svg(chart: Bars | Curves, names: Sequence[str]) -> Markup:
    """Draw a chart.

    Args:
        chart: The chart.
        names: Of the runs.

    Returns:
        An ``<svg>`` that takes its colors from the page.
    """
    inked = ('grid.color', 'text.color', 'axes.edgecolor', 'axes.labelcolor', 'xtick.color', 'ytick.color')
    style = {
        'svg.fonttype': 'none',  # text stays text
        'svg.hashsalt': chart.title,
        'font.family': 'sans-serif',
        'axes.spines.right': False,
        'axes.spines.top': False,
        **dict.fromkeys(inked, INK),
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(4.8, 3.2), layout='constrained')
        chart.draw(figure.add_subplot(), names)
        buffer = io.StringIO()
        figure.savefig(buffer, format='svg', transparent=True, metadata=dict(Date=None))
    svg = buffer.getvalue()
    svg = svg[svg.index('<svg') :].replace(INK, 'currentColor')
    for index in range(COLORS):
        svg = svg.replace(_color(index), f'var(--run-{index})')
    return Markup(svg)  # matplotlib has escaped the texts


def _color(index: int) -> str:
    return f'{SERIES}{index % COLORS:02x}'
