"""Run the core tests on every Python found here, and with the forks: ``python requirements/matrix.py [PYTHON ...]``.

Each environment is made anew, one after the other: some 5 GB, freed when its tests have passed. What passed is kept in
``work_dirs/matrix/passed.json``, and the next call goes on behind it; without that file it begins anew. The rows of
what ran go into the README's table of tested versions, and the others stay.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / 'README.md'
WORK = ROOT / 'work_dirs' / 'matrix'
MINORS = ('3.10', '3.11', '3.12', '3.13', '3.14')
# What touches Python, torch and the toolkits most, in about two minutes.
PARTS = 'functional.py registry.py toolkits.py compat positions transforms losses distillers hooks'
CORE = [f'tests/test_{part}' for part in PARTS.split()]
HEAD = '| Python | torch | numpy | setuptools | mmengine, mmcv, mmdet, mmseg, mmpretrain | core tests |'
VERSIONS = """
import platform
from importlib.metadata import version
print(platform.python_version(), *(version(name).partition('+')[0] for name in ('torch', 'numpy', 'setuptools')))
"""


def find_pythons(named: list[str]) -> dict[str, str]:
    """Map each minor version to the first Python that can make environments: named, on PATH, or pyenv's."""
    pyenv = Path(os.environ.get('PYENV_ROOT', Path.home() / '.pyenv')) / 'versions'
    found: dict[str, str] = {}
    for python in [*named, *(f'python{minor}' for minor in MINORS), *map(str, sorted(pyenv.glob('3.*/bin/python')))]:
        code = 'import ensurepip, sys, venv; print("%d.%d" % sys.version_info[:2])'
        if shutil.which(python):
            answer = subprocess.run([python, '-c', code], capture_output=True, text=True)
            if answer.returncode == 0:
                found.setdefault(answer.stdout.strip(), python)
    return found


def try_environment(python: str, toolkits: str, name: str) -> tuple[bool, str]:
    """Make an environment, run the core tests there, and tell whether they passed, with the row of the table."""
    environment, log = WORK / name, WORK / f'{name}.log'
    make = ['make', 'install', f'VENV={environment}', f'PYTHON={python}', f'TOOLKITS={toolkits}']
    python = str(environment / 'bin/python')
    # Not in dev.txt: where it is installed, each start of a tool takes a second longer.
    add = [python, '-m', 'pip', 'install', 'transformers']
    test = [python, '-m', 'pytest', '-q', *CORE]
    with log.open('w') as file:
        for command in (make, add, test):
            status = subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT).returncode
            if status and command is not test:
                return False, ''
    versions = subprocess.check_output([test[0], '-c', VERSIONS], text=True).split()
    pins = re.findall(r'^(?:onedl-)?mm[\w-]+==([\w.]+)', (ROOT / f'requirements/{toolkits}.txt').read_text(), re.M)
    told = re.findall(r'^(?=.*\d (?:passed|failed|error))(.*?) in [\d.]+s', log.read_text(), re.M)
    kind = {'toolkits': 'mmcv-lite', 'onedl': 'onedl'}[toolkits]
    end = told[-1] if told else 'broke off'
    if status not in (0, 1):  # pytest's own for all passed and some failed
        end += f', exit status {status}'
    cells = [*versions, f'{", ".join(pins)} ({kind})', end]
    return not status, f'| {" | ".join(cells)} |'


def write_rows(rows: list[str]) -> None:
    """Put rows into the README's table, in the place of those of the same Python and toolkits."""
    before, after = README.read_text().split(HEAD + '\n')
    line, *after_lines = after.split('\n')
    end = next(i for i, row in enumerate(after_lines) if not row.startswith('|'))
    table = {name_of(row): row for row in [*after_lines[:end], *rows]}
    ordered = [table[name] for name in sorted(table, key=lambda name: (name[0], int(name[1])))]
    README.write_text(before + '\n'.join([HEAD, line, *ordered, *after_lines[end:]]))


def name_of(row: str) -> tuple[bool, str]:
    """What a row is about: whether it has the forks, and the minor version of Python."""
    return '(onedl)' in row, row.split('.')[1]


def main(named: list[str]) -> bool:
    """Try all, and tell whether what could be tried passed."""
    WORK.mkdir(parents=True, exist_ok=True)
    store = WORK / 'passed.json'
    passed = json.loads(store.read_text()) if store.exists() else {}
    pythons, failed = find_pythons(named), False
    newest = [minor for minor in MINORS if minor in pythons][-1:]
    for minor, toolkits in [*((minor, 'toolkits') for minor in MINORS), *((minor, 'onedl') for minor in newest)]:
        name = f'{minor}-{toolkits}'
        if minor not in pythons:
            print(f'{name}: skipped, no Python {minor} here; name one: make test-matrix ARGS=/path/to/python{minor}')
        elif name in passed:
            print(f'{name}: passed before; {store} is where that is written')
        else:
            print(f'{name}: trying {pythons[minor]}; see {WORK / name}.log', flush=True)
            good, row = try_environment(pythons[minor], toolkits, name)
            print(f'{name}: {row or "could not be installed"}', flush=True)
            failed |= not good
            write_rows([row] if row else [])
            if good:
                passed[name] = row
                store.write_text(json.dumps(passed, indent=1))
                shutil.rmtree(WORK / name)
    return not failed


if __name__ == '__main__':
    sys.exit(not main(sys.argv[1:]))
