import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from ovkd_mm.report.charts import Bars, Curves
from ovkd_mm.report.page import Gallery, Series, write_report


class Page(HTMLParser):
    """Collects tags, texts and attributes, and checks that tags are closed in order."""

    VOID = {'meta', 'img', 'link', 'br'}

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(path.read_text(encoding='utf-8'))
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def picture(value: int) -> np.ndarray:
    image = np.zeros((20, 30, 3), np.uint8)
    image[..., 0] = value  # red
    return image


SERIES = [Series('teacher', ['0.5', '26.3 M'], 'big'), Series('<b>&"distilled"', ['-', '<u>'], 'a $small$ <one>')]
CURVES = [
    Curves('task loss', [([10, 20], [5.0, 2.5]), ([10, 20], [5.0, 3.25])], log=True),
    Curves('distillation loss', [([], []), ([10, 20], [3.0, 0.75])], log=True),
    Curves('mAP', [([10, 20], [0.125, 0.5])] * 2),
]


@pytest.fixture
def page(tmp_path) -> Page:
    pictures = Gallery('Seen & <found>', ('truth', '<i>'), [[picture(250), picture(60)], [picture(0), picture(120)]])
    columns, details = ('mAP', 'm<1>'), ['Third <&>.']
    path = tmp_path / 'report.html'
    write_report(path, 'A <title>', ['First & second.'], columns, SERIES, CURVES, details, pictures)
    assert [file.name for file in tmp_path.iterdir()] == ['report.html']
    return Page(path)


def test_every_run_has_a_row_with_its_description_and_its_cells(page):
    text = ' '.join(filter(None, page.texts))
    assert 'run mAP m<1>' in text
    assert 'teacher big 0.5 26.3 M' in text
    assert '<b>&"distilled" a $small$ <one> - <u>' in text


def test_what_users_name_is_text_and_never_markup(page):
    assert not page.all('b')
    assert not page.all('one')
    assert not page.all('u')
    assert {'A <title>', 'First & second.', 'Third <&>.', 'Seen & <found>', '<i>'} <= set(page.texts)
    assert {attributes['alt'] for attributes in page.all('img')} == {'truth', '<i>'}


def test_the_page_needs_nothing_from_elsewhere(page):
    assert not page.all('script')
    assert not page.all('link')
    for tag, attributes in page.tags:
        assert attributes.get('src', 'data:').startswith('data:'), tag
        assert not attributes.get('href', '').startswith('http'), tag
    style = next(text for text in page.texts if ':root' in text)
    assert 'url(' not in style
    assert 'prefers-color-scheme: dark' in style


def test_pictures_are_embedded_in_order(page):
    reds = []
    for attributes in page.all('img'):
        data = base64.b64decode(attributes['src'].removeprefix('data:image/jpeg;base64,'))
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (20, 30, 3)
        reds.append(image[..., 2].mean())
    assert reds == pytest.approx([250, 60, 0, 120], abs=4)


def test_charts_take_their_colors_from_the_page(page):
    assert len(page.all('svg')) == 3
    styles = ' '.join(attributes.get('style', '') for attributes in page.all('path'))
    # The teacher has a task loss and a metric, the distilled student a distillation loss, too.
    assert len(re.findall(r'stroke: var\(--run-0\)', styles)) >= 2
    assert len(re.findall(r'stroke: var\(--run-1\)', styles)) >= 3
    assert 'currentColor' in styles
    assert '#0a0b' not in styles
    assert '#010203' not in styles


def test_a_page_without_details_and_pictures_has_no_headings_for_them(tmp_path):
    write_report(tmp_path / 'report.html', 'T', [], ['m'], SERIES[:1], [])
    texts = Page(tmp_path / 'report.html').texts
    assert 'Charts' in texts
    assert not {'Details', 'Pictures'} & set(texts)


def test_a_report_that_fails_leaves_the_former_one(tmp_path):
    path = tmp_path / 'report.html'
    write_report(path, 'former', [], ['m'], SERIES, CURVES)
    former = path.read_bytes()
    with pytest.raises(cv2.error):
        gallery = Gallery('', ('a',), [[np.zeros((0, 0, 3), np.uint8)]])
        write_report(path, 'later', [], ['m'], SERIES, CURVES, gallery=gallery)
    assert path.read_bytes() == former


NAMES = ('none', '<i>kd</i>', '$at$', *(f'other {index}' for index in range(7)))


@pytest.fixture
def comparison(tmp_path) -> Page:
    def draw(values, errors) -> Page:
        series = [Series(name, ['1', '<b>'], 'a $row$') for name in NAMES]
        bars = Bars('length', [*values, *[60.0] * 7], [*errors, *[None] * 7])
        curves = [([10, 20], [index, index + 1]) for index in range(10)]
        curves[2] = ([], [])
        path = tmp_path / 'report.html'
        write_report(path, 'A', [], ['a', 'b'], series, [bars, Curves('m', curves)])
        return Page(path)

    return draw


def bar_lengths(page: Page) -> dict[str, float]:
    """Lengths of filled rectangles by their color."""
    lengths = {}
    for attributes in page.all('path'):
        if color := re.search(r'fill: var\((--run-\d)\)', attributes.get('style', '')):
            xs = [float(x) for x in re.findall(r'[ML] ([\d.]+) ', attributes['d'])]
            if len(xs) == 4:
                lengths[color[1]] = max(xs) - min(xs)
    return lengths


def test_a_comparison_has_a_bar_and_a_curve_for_each_row(comparison):
    page = comparison([40.0, 80.0, None], [4.0, None, None])
    assert {'length', 'm', *NAMES} <= set(page.texts)
    assert not page.all('b')
    assert len(page.all('svg')) == 2
    styles = ' '.join(attributes.get('style', '') for attributes in page.all('path'))
    for index in (0, 1, *range(3, 10)):
        assert f'stroke: var(--run-{index})' in styles


def test_bars_are_as_long_as_their_values_and_an_error_bar_as_its_error(comparison):
    page = comparison([40.0, 80.0, None], [4.0, None, None])
    lengths = bar_lengths(page)
    assert len(lengths) == 9
    assert '--run-2' not in lengths
    assert lengths['--run-1'] == pytest.approx(2 * lengths['--run-0'], rel=1e-3)
    errors = [
        [float(x) for x in re.findall(r'[ML] ([\d.]+) ', attributes['d'])]
        for attributes in page.all('path')
        if 'stroke: currentColor; stroke-width: 1.4' in attributes.get('style', '')
    ]
    assert max(max(xs) - min(xs) for xs in errors) == pytest.approx(lengths['--run-0'] / 5, rel=1e-3)


def test_bars_nearly_as_long_begin_later_and_the_title_says_where(comparison):
    page = comparison([60.0, 64.0, 62.0], [1.0, None, None])
    assert 'length (from 57 on)' in page.texts
    lengths = bar_lengths(page)
    assert lengths['--run-1'] == pytest.approx(7 / 3 * lengths['--run-0'], rel=1e-3)
