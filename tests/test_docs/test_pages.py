"""What the pages say is there: files, links, rooms, settings and errors."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from command_line import ROOT

from ovkd_mm.registry import DATASETS, HOOKS, MODELS, TASK_UTILS, TRANSFORMS

DOCS = ROOT / 'docs'
PAGES = sorted(DOCS.rglob('*.md'))
LINKING = [*PAGES, *(ROOT / name for name in ('README.md', 'CONTRIBUTING.md')), *ROOT.glob('configs/*/README.md')]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize('page', LINKING, ids=name_of)
def test_every_relative_link_leads_to_a_file(page):
    links = [link for link in re.findall(r'\]\(([^)\s]+)\)', page.read_text()) if not re.match(r'[a-z]+:', link)]
    assert not [link for link in links if not (page.parent / link.partition('#')[0]).exists()]


OWN = [page for page in PAGES if page.name != 'upstream.md']  # which quotes what the toolkits name


@pytest.mark.parametrize('page', [*OWN, ROOT / 'README.md', ROOT / 'CONTRIBUTING.md'], ids=name_of)
def test_every_file_of_ours_that_a_page_names_exists(page):
    """But for those that a page asks its reader to write."""
    named = re.findall(r'(?<![\w/])((?:\w+/)+[\w.-]+\.(?:py|yml|sh|md|txt))\b', page.read_text())
    ours = [name for name in named if (ROOT / name.partition('/')[0]).is_dir() and 'cwd' not in name]
    assert not [name for name in ours if not (ROOT / name).exists()]


def test_the_navigation_has_every_page_but_those_of_the_rows_which_the_table_of_results_links():
    def pages(entry) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [page for part in (entry if isinstance(entry, list) else entry.values()) for page in pages(part)]

    nav = yaml.safe_load((ROOT / 'mkdocs.yml').read_text())['nav']
    assert sorted(pages(nav)) == sorted(
        page.relative_to(DOCS).as_posix() for page in PAGES if page.parent.name != 'results'
    )


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_a_page_draws_and_loads_nothing_from_elsewhere(page):
    text = page.read_text()
    assert '```mermaid' not in text and '<script' not in text
    assert not re.search(r'!\[[^]]*\]\(https?:', text)


def test_how_it_works_names_every_room_and_no_other():
    rooms = {path.parent.name for path in (ROOT / 'ovkd_mm').glob('*/__init__.py')}
    table = (DOCS / 'how-it-works.md').read_text().partition('## Rooms')[2]
    first_cells = '\n'.join(line.split('|')[1] for line in table.splitlines() if line.startswith('| `'))
    assert set(re.findall(r'`(\w+)/`', first_cells)) == rooms


def test_every_class_that_a_config_can_name_is_configured_on_a_page():
    """A room is listed as a whole; what it registers without exporting has a line of its own."""
    page = (DOCS / 'configuring.md').read_text()
    listed = set(re.findall(r'^::: ([\w.]+)$', page, re.MULTILINE))
    for registry in (MODELS, TASK_UTILS, HOOKS, DATASETS, TRANSFORMS):
        registry.import_from_location()
        for name, kind in registry.module_dict.items():
            if not kind.__module__.startswith('ovkd_mm.'):
                continue
            room = '.'.join(kind.__module__.split('.')[:2])
            exported = __import__(room, fromlist=['__all__']).__all__
            assert (room in listed and name in exported) or any(
                line.startswith(room) and line.endswith(f'.{name}') for line in listed
            ), name


def messages() -> str:
    """All text of the package's and the tools' string literals."""
    texts = []
    for path in [*(ROOT / 'ovkd_mm').rglob('*.py'), *(ROOT / 'tools').glob('*.py')]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return '\n'.join(texts)


def test_every_error_of_the_troubleshooting_page_is_one_that_the_code_gives():
    page = (DOCS / 'troubleshooting.md').read_text()
    errors = re.findall(r'^\| `(.+?)` \|', page, re.MULTILINE)
    assert len(errors) >= 20
    known = messages()
    for error in errors:
        parts = [part.strip() for part in error.replace("'…'", '…').split('…')]
        assert max(map(len, parts)) >= 10, error
        assert all(part in known for part in parts), error


def test_the_readme_names_every_position_and_every_limit_on_a_version():
    readme = (ROOT / 'README.md').read_text()
    (row,) = re.findall(r'^\| `position` \|.*$', readme, re.MULTILINE)
    TASK_UTILS.import_from_location()
    positions = {name for name, kind in TASK_UTILS.module_dict.items() if kind.__module__.startswith('ovkd_mm.')}
    assert set(re.findall(r'`(\w+)`', row)) - {'position'} == positions
    limits = set(re.findall(r'^    ([\w-]+)[^#\n]*<([\d.]+)', (ROOT / 'setup.cfg').read_text(), re.MULTILINE))
    assert limits == {('mmcv-lite', '2.2')}
    assert all(re.search(rf'{name}\s+(stays\s+)?below\s+{version}\b', readme) for name, version in limits)
