"""What a benchmark found, as Markdown, JSON and a chart."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from ..benchmark.run import Benchmark
from ..benchmark.steps import PARTS
from ..checkpoints.atomic_save import write_whole

__all__ = ['markdown', 'write_benchmark']

NAMES = dict(
    student="student's own step",
    teacher='teacher to its last tap',
    connectors="connectors' convolutions, forward and backward",
    pairs='pairs: connectors, transforms and losses, forward and backward',
    distilled='distilled step',
    mmrazor="mmrazor's distilled step",
)
MIB = 2**20


def markdown(found: Sequence[Benchmark], title: str, notes: Sequence[str]) -> str:
    """A table of each run, and what it was run on.

    Args:
        found: The runs.
        title: Of the page.
        notes: Lines to end with.
    """
    return '\n'.join([f'# {title}', '', *(line for one in found for line in _section(one)), *notes, ''])


def _section(one: Benchmark) -> list[str]:
    known = one.times['distilled'].peak is not None
    lines = [f'## {_what(one)}', '']
    lines.append('| part | ms | from first to third quartile |' + ' most memory at once, MiB |' * known)
    lines.append('|---|---:|---:|' + '---:|' * known)
    for name, times in one.times.items():
        memory = f' {(times.peak or 0) / MIB:.0f} |' if known else ''
        lines.append(f'| {NAMES[name]} | {1e3 * times.median:.1f} | {1e3 * times.spread:.1f} |{memory}')
    lines += [
        '',
        f'**{one.ratio:.3f}** is the distilled step over what it cannot do without: the first three, '
        f'{1e3 * one.limit:.1f} ms. {one.images_per_second:.1f} images a second, data loading left out.',
        '',
    ]
    if peer := one.times.get('mmrazor'):
        lines += [f"**{one.times['distilled'].median / peer.median:.3f}** is the distilled step over mmrazor's.", '']
    return lines + _operation(one)


def _what(one: Benchmark) -> str:
    pairs = '1 pair' if one.pairs == 1 else f'{one.pairs} pairs'
    return f'{one.batch_size} images of {one.size[0]}x{one.size[1]}, {pairs}'


def _operation(one: Benchmark) -> list[str]:
    if not one.operation:
        return []
    bandwidth = 2 / one.operation['copy'].median  # features a second: one read, one written
    lines = [f"OFD's operation on {'x'.join(map(str, one.feature))}, forward and backward:", '']
    lines += ['| operation | ms | times as fast as plain | part of the bandwidth of a copy |', '|---|---:|---:|---:|']
    for name, times in one.operation.items():
        plain = one.operation.get(f'{name.partition(",")[0]}, plain')
        faster = f'{plain.median / times.median:.2f}' if plain else ''
        # It cannot do without two reads and a write.
        used = f'{3 / times.median / bandwidth:.0%}' if plain else ''
        lines.append(f'| {name} | {1e3 * times.median:.1f} | {faster} | {used} |')
    return [*lines, '']


def write_benchmark(folder: Path, found: Sequence[Benchmark], title: str, notes: Sequence[str]) -> None:
    """Write ``benchmark.md``, ``benchmark.json`` and ``benchmark.svg``.

    Args:
        folder: Where; made if it is not there.
        found: The runs.
        title: Of page and chart.
        notes: Lines to end the page with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / 'benchmark.md', markdown(found, title, [*notes, '', '![parts of a step](benchmark.svg)']))
    runs = [asdict(one) | dict(limit=one.limit, ratio=one.ratio) for one in found]
    write_whole(folder / 'benchmark.json', json.dumps(dict(title=title, notes=list(notes), runs=runs), indent=2))
    write_whole(folder / 'benchmark.svg', _chart(found, title))


def _chart(found: Sequence[Benchmark], title: str) -> str:
    """Two bars a run: the limit, of its parts, and the distilled step."""
    with matplotlib.rc_context({'svg.fonttype': 'none', 'font.family': 'sans-serif', 'svg.hashsalt': title}):
        figure = Figure(figsize=(8, 1.2 + 0.9 * len(found)), layout='constrained')
        axes = figure.add_subplot(title=title, xlabel='ms')
        for index, one in enumerate(found):
            left = 0.0
            for number, part in enumerate(PARTS):
                width = 1e3 * one.times[part].median
                axes.barh(index - 0.2, width, 0.36, left, color=f'C{number}', label='' if index else NAMES[part])
                left += width
            whole = 1e3 * one.times['distilled'].median
            axes.barh(index + 0.2, whole, 0.36, color='0.6', label='' if index else NAMES['distilled'])
            axes.text(whole, index + 0.2, f' {one.ratio:.2f}', va='center')
        axes.set_yticks(range(len(found)), [_what(one) for one in found])
        axes.invert_yaxis()
        axes.legend(loc='upper center', bbox_to_anchor=(0.5, -0.25), ncols=2, frameon=False)
        buffer = io.StringIO()
        figure.savefig(buffer, format='svg', metadata=dict(Date=None))
    return buffer.getvalue()
