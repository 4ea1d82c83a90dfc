"""Write down what ``make reproduce`` found: a page of the row, its line in the table of results, figures in READMEs.

``python docs/_reproduced.py ROW WORK_DIR``, with the work dir of the row's study.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import yaml

BEGIN, END = '<!-- rows of configs/reproduce -->', '<!-- end of the rows -->'
HEAD = ['| row | alone | OFD | best other method | seeds |', '|---|---|---|---|---|']
NOT_RUN = 'not run'


def main(root: Path, row: str, work_dir: Path) -> None:
    """Write a row's results into the pages.

    Args:
        root: The folder with ``configs`` and ``docs``.
        row: Name of a study in ``configs/reproduce``.
        work_dir: Where it was run.

    Raises:
        ValueError: If the page of results has no place for the table.
    """
    methods = [one for one in json.loads((work_dir / 'results.json').read_text())['methods'] if one['seeds']]
    page = root / 'docs' / 'results' / f'{row}.md'
    page.parent.mkdir(exist_ok=True)
    if (written := _runs_of(page)) > (runs := sum(one['seeds'] for one in methods)):
        print(
            f'{page} tells of {written} runs, {work_dir} of {runs}: nothing is replaced; delete the page if it should'
        )
        return
    shutil.copyfile(work_dir / 'table.md', page)
    _fill_table(root, row, methods)
    _fill_readmes(root, row, methods)


def _runs_of(page: Path) -> int:
    """How many runs stand in a page's table."""
    lines = page.read_text().splitlines() if page.is_file() else []
    rows = [line.strip('| ').split(' | ') for line in lines if line.startswith('|')]
    place = rows[0].index('seeds') if rows else 0
    return sum(int(count[0]) for row in rows[2:] if (count := re.match(r'\d+', row[place])))


def _fill_table(root: Path, row: str, methods: list[dict]) -> None:
    """Write the row's line, and those that the table lacks."""
    page = root / 'docs' / 'results.md'
    before, begin, rest = page.read_text().partition(BEGIN)
    table, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f'{page} has no lines {BEGIN!r} and {END!r} to write the table between')
    lines = {found[1]: line for line in table.splitlines() if (found := re.match(r'\| \[?`([\w-]+)`', line))}
    for study in (root / 'configs' / 'reproduce').glob('*.yml'):
        if study.stem == row or study.stem not in lines:
            published = yaml.safe_load(study.read_text()).get('published') or {}
            lines[study.stem] = _line(study.stem, published, methods if study.stem == row else [])
    page.write_text('\n'.join([before + BEGIN, '', *HEAD, *(lines[name] for name in sorted(lines)), '', END + after]))


def _line(row: str, published: dict, methods: list[dict]) -> str:
    """The best of the student's rates, the study's first OFD, the best of the other methods."""
    alone, ofd, others = _parted(methods)
    shown = {'alone': _best(alone), 'OFD': ofd[0] if ofd else None, 'other': _best(others)}
    cells = []
    for label, one in shown.items():
        cell = _figure(one['final']) if one else NOT_RUN
        if one and one['label'] != label:
            cell += f' ({one["label"]})'
        cells.append(cell + (f'; the paper: {published[label]}' if label in published else ''))
    counts = [str(one['seeds']) for one in shown.values() if one] or ['0']
    name = f'[`{row}`](results/{row}.md)' if methods else f'`{row}`'
    return f'| {name} | {" | ".join(cells)} | {counts[0] if len(set(counts)) == 1 else ", ".join(counts)} |'


def _parted(methods: list[dict]) -> tuple[list[dict], list[dict], list[dict]]:
    """The student alone, OFD alone, other methods; sums of OFD and another are none of these."""
    alone = [one for one in methods if one['method'] == 'none']
    ofd = [one for one in methods if _which_are_ofd(one) == [True]]
    others = [one for one in methods if not any(_which_are_ofd(one)) and one['method'] not in ('none', 'teacher')]
    return alone, ofd, others


def _which_are_ofd(entry: dict) -> list[bool]:
    """Of each method that an entry adds up; the base config's own, None, is OFD."""
    return [name.startswith('ofd') for name in (entry['method'] or 'ofd').split('+')]


def _best(entries: list[dict]) -> dict | None:
    return max(entries, key=lambda one: one['final']['mean'], default=None)


def _figure(final: dict, error: bool = False) -> str:
    decimals = 2 if final['mean'] > 1.5 else 4  # percent, or parts of 1
    mean = 100 - final['mean'] if error else final['mean']
    return f'{mean:.{decimals}f}' + ('' if final['std'] is None else f' ± {final["std"]:.{decimals}f}')


def _fill_readmes(root: Path, row: str, methods: list[dict]) -> None:
    """Put figures where the configs' READMEs say "not run"."""
    folder = root / 'configs' / 'reproduce'
    study = yaml.safe_load((folder / f'{row}.yml').read_text())
    config = (folder / study['config']).resolve()
    student = re.search(r"'\./([\w.-]+\.py)'", config.read_text())  # its first base
    alone, ofd, _ = _parted(methods)
    found = {config: ofd[0] if ofd else None, config.parent / student[1] if student else None: _best(alone)}
    if study.get('teacher'):
        found[(folder / study['teacher']['config']).resolve()] = next(
            (one for one in methods if one['method'] == 'teacher'), None
        )
    for file, one in found.items():
        if file and one:
            _fill_readme(file, f'../../docs/results/{row}.md', one['final'])


def _fill_readme(config: Path, page: str, final: dict) -> None:
    readme = config.parent / 'README.md'
    lines, head = readme.read_text().split('\n'), ''
    for number, line in enumerate(lines):
        if line.startswith('| config'):
            head = line
        elif f']({config.name})' in line:
            cells = line.split('|')
            for place, (title, cell) in enumerate(zip(head.split('|'), cells, strict=False)):
                if cell.strip() == NOT_RUN or page in cell:
                    cells[place] = f' [{_figure(final, error="error" in title)}]({page}) '
                    break
            lines[number] = '|'.join(cells)
    readme.write_text('\n'.join(lines))


if __name__ == '__main__':
    main(Path(__file__).parents[1], sys.argv[1], Path(sys.argv[2]))
