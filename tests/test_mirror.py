"""The tests stand as the package does, so that whoever changes a module finds its tests."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Modules without tests of their own, and why.
EXCEPTIONS = {
    'models/kaiming.py': 'a constant; the networks that start by it are tested with it',
    'version.py': 'a number; test_packaging.py compares it with the metadata',
}


def test_every_module_has_a_file_of_tests_in_the_same_place():
    package = ROOT / 'ovkd_mm'
    modules = {path.relative_to(package) for path in package.rglob('*.py')}
    modules = {path for path in modules if path.name != '__init__.py' and '.mim' not in path.parts}
    mirrored = {path: Path(*(f'test_{part}' for part in path.parts)) for path in modules}
    missing = {path.as_posix() for path, test in mirrored.items() if not (ROOT / 'tests' / test).is_file()}
    assert missing <= set(EXCEPTIONS)
