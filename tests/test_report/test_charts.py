import pytest
from matplotlib.figure import Figure

from ovkd_mm.report.charts import Bars, Curves, draw_svg


@pytest.mark.parametrize(
    'chart', [Curves('a curve', [([1, 2], [0.5, 0.25]), ([], [])], log=True), Bars('a bar', [1.0, None], [0.1, None])]
)
def test_a_chart_is_svg_in_the_pages_colors_with_text_that_stays_text(chart):
    svg = draw_svg(chart, ['one', 'two'])
    assert svg.count('<svg') == 1
    assert 'var(--run-0)' in svg
    assert 'currentColor' in svg
    assert '#010203' not in svg and '#0a0b' not in svg


def test_runs_beyond_the_colors_are_told_by_their_dashes():
    svg = draw_svg(Curves('a curve', [([1, 2], [1.0, 2.0])] * 21), [f'run {index}' for index in range(21)])
    lines = [line for line in svg.splitlines() if 'var(--run-0)' in line and 'stroke-width: 1.8' in line]
    dashes = [line.partition('stroke-dasharray: ')[2].partition(';')[0] for line in lines]
    assert dashes[0] == '' and all(dashes[1:]) and len(set(dashes)) == 3


@pytest.mark.parametrize('values', [[-3.0, None, -1.0], [0.0, 2.0], [-2.0, 3.0], [80.0, 81.0]])
def test_a_bar_is_in_sight_from_its_beginning_to_its_end_also_below_zero(values):
    axes = Figure().add_subplot()
    Bars('a bar', values, [None] * len(values)).draw(axes, [f'run {index}' for index in range(len(values))])
    low, high = axes.get_xlim()
    ends = [end for bar in axes.patches for end in (bar.get_x(), bar.get_x() + bar.get_width())]
    assert low <= min(ends) and max(ends) <= high
    assert max(ends) - min(ends) > 0
