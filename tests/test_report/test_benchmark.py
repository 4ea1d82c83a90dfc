import json
from xml.etree import ElementTree

from ovkd_mm.benchmark import Benchmark
from ovkd_mm.benchmark.timing import Times
from ovkd_mm.report.benchmark import markdown, write_benchmark

PEAKS = dict(student=10, teacher=5, connectors=2, pairs=4, distilled=16)


def run(batch_size=8, on_gpu=False):
    parts = dict(student=0.3, teacher=0.2, connectors=0.1, pairs=0.25, distilled=0.75)
    operation = {'copy': 0.002, 'loss, plain': 0.012, 'loss, in one operation': 0.004}
    return Benchmark(
        batch_size,
        (32, 48),
        4,
        {name: Times([value], PEAKS[name] * 2**20 if on_gpu else None) for name, value in parts.items()},
        (8, 64, 32, 48),
        {name: Times([value]) for name, value in operation.items()},
    )


def test_the_page_says_what_a_step_takes_and_how_near_it_is_to_the_limit():
    page = markdown([run()], 'ofd_toy', ['On this machine.'])
    assert page.startswith('# ofd_toy\n\n## 8 images of 32x48, 4 pairs\n')
    assert "| student's own step | 300.0 | 0.0 |" in page
    assert (
        '**1.250** is the distilled step over what it cannot do without: the first three, 600.0 ms. 10.7 images' in page
    )
    assert page.endswith('On this machine.\n')
    assert 'MiB' not in page


def test_the_operation_is_set_beside_the_plain_formula_and_a_copy():
    page = markdown([run()], 'x', [])
    assert "OFD's operation on 8x64x32x48" in page
    assert '| copy | 2.0 |  |  |' in page
    # Two reads and a write: half as many again as a copy, which would take 3 ms.
    assert '| loss, plain | 12.0 | 1.00 | 25% |' in page
    assert '| loss, in one operation | 4.0 | 3.00 | 75% |' in page


def test_the_step_is_set_beside_that_of_a_peer():
    one = run()
    assert 'mmrazor' not in markdown([one], 'x', [])
    one.times['mmrazor'] = Times([1.0])
    page = markdown([one], 'x', [])
    assert "| mmrazor's distilled step | 1000.0 | 0.0 |" in page
    assert "**0.750** is the distilled step over mmrazor's." in page


def test_memory_is_shown_where_it_is_known():
    page = markdown([run(on_gpu=True)], 'x', [])
    assert '| part | ms | from first to third quartile | most memory at once, MiB |\n|---|---:|---:|---:|' in page
    assert '| distilled step | 750.0 | 0.0 | 16 |' in page


def test_page_figures_and_chart_are_written(tmp_path):
    write_benchmark(tmp_path / 'new' / 'folder', [run(), run(16)], 'ofd_toy', ['Note.'])
    folder = tmp_path / 'new' / 'folder'
    page = (folder / 'benchmark.md').read_text()
    assert '## 16 images' in page and '![parts of a step](benchmark.svg)' in page
    found = json.loads((folder / 'benchmark.json').read_text())
    assert [one['batch_size'] for one in found['runs']] == [8, 16]
    assert found['runs'][0]['ratio'] == 0.75 / (0.3 + 0.2 + 0.1)
    assert found['runs'][0]['times']['student']['seconds'] == [0.3]
    chart = (folder / 'benchmark.svg').read_text()
    assert '1.25' in chart and '16 images of 32x48, 4 pairs' in chart and 'teacher to its last tap' in chart
    assert ElementTree.fromstring(chart).tag.endswith('svg')
