import pytest

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
