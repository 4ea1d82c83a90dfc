"""Install what an environment lacks and replace nothing that it has: ``PYTHON requirements/install.py [docs|onedl]``.

With ``onedl`` the toolkits are the maintained forks. With ``docs`` it is what building the pages takes, which is
neither torch nor a toolkit nor this checkout.

A requirement is met when its import name is found, whichever distribution brings it: a compiled mmcv answers for
mmcv-lite, onedl-mmengine for mmengine, opencv-python for opencv-python-headless.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Names the requirements of an installation that has begun; one that was cut short leaves modules that import half.
JOURNAL = Path(sys.prefix) / 'ovkd_mm-unfinished.txt'


def read_requirements(path: Path) -> dict[str, str]:
    """Map each requirement of a file to its import name."""
    names = {}
    for line in path.read_text().splitlines():
        requirement, _, comment = (part.strip() for part in line.partition('#'))
        if requirement:
            name = re.match(r'import (\w+)', comment) or re.match(r'([\w-]+)', requirement)
            names[requirement] = name[1].replace('-', '_')
    return names


def lacking(path: Path) -> list[str]:
    """List the requirements of a file that are absent or were being installed when an installation was cut short."""
    begun = unfinished()
    return [r for r, name in read_requirements(path).items() if r in begun or not is_importable(name)]


def unfinished() -> list[str]:
    """List the requirements that were being installed when an installation was cut short."""
    return JOURNAL.read_text().splitlines() if JOURNAL.exists() else []


def is_importable(name: str) -> bool:
    """Tell whether a module is there, without importing it; a folder without code (a namespace) does not count."""
    spec = find_spec(name)
    return spec is not None and spec.origin is not None


def imports_this_checkout() -> bool:
    """Tell whether ``import ovkd_mm`` finds the package beside this script."""
    spec = find_spec('ovkd_mm')
    return spec is not None and Path(spec.origin or '').resolve().parent == HERE.parent / 'ovkd_mm'


def keep_installed() -> str:
    """Write pip constraints that hold every installed distribution at its version.

    Setuptools alone may move: new torch asks for a newer one than a new environment has.
    """
    installed = {d.metadata['Name']: d.version for d in distributions()}
    installed.pop('setuptools', None)
    return '\n'.join(f'{name}=={version}' for name, version in installed.items())


def main(what: str) -> None:
    """Install in two calls of pip: the toolkits and this checkout without dependencies, then everything else."""
    if what == 'docs':
        toolkits, checkout, others = [], [], lacking(HERE / 'docs.txt')
    else:
        toolkits = lacking(HERE / f'{what}.txt')
        others = lacking(HERE / 'runtime.txt') + lacking(HERE / 'dev.txt')
        checkout = [] if imports_this_checkout() else ['--editable', str(HERE.parent)]
    if not toolkits + others + checkout:
        print(f'{sys.prefix}: nothing to install')
        return
    print(f'{sys.prefix}: installing', ' '.join(toolkits + others + checkout), flush=True)
    if not is_importable('pip'):
        subprocess.run([sys.executable, '-m', 'ensurepip'], check=True)
    before = [requirement for requirement in unfinished() if requirement not in toolkits + others]
    JOURNAL.write_text('\n'.join(before + toolkits + others))
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / 'installed.txt'
        constraints.write_text(keep_installed())
        # Nothing that was there can break, so pip's warnings would only be about the stand-ins.
        pip = [sys.executable, '-m', 'pip', 'install', '--no-warn-conflicts']
        binary = ['--only-binary', ':all:', '--constraint', str(constraints)]  # the forks are sources, of pure Python
        for options, wanted in (['--no-deps'], toolkits + checkout), (binary, others):
            if wanted and subprocess.run(pip + options + wanted).returncode != 0:
                sys.exit(
                    f'Could not add what {sys.prefix} lacks to what is there (see the error above). With a network, '
                    'a new environment works: make VENV=/path/to/a/new/folder'
                )
    if before:
        JOURNAL.write_text('\n'.join(before))
    else:
        JOURNAL.unlink()


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Install what this environment lacks.')
    parser.add_argument(
        'what',
        nargs='?',
        default='toolkits',
        choices=['toolkits', 'onedl', 'docs'],
        help="everything, with the toolkits or their forks; or 'docs' for what building the pages takes",
    )
    main(parser.parse_args().what)
