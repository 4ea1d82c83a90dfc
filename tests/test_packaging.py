"""The wheel that is built from this checkout, and what its metadata declares."""

import ast
import email
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

import ovkd_mm

ROOT = Path(__file__).resolve().parents[1]
IMPORT_NAMES = {
    'mmcv-lite': 'mmcv',
    'mmsegmentation': 'mmseg',
    'opencv-python': 'cv2',
    'opencv-python-headless': 'cv2',
    'pillow': 'PIL',
    'pytest-xdist': 'xdist',
    'pyyaml': 'yaml',
}
POSIX_ONLY = {'fcntl', 'grp', 'posix', 'pty', 'pwd', 'resource', 'syslog', 'termios', 'tty'}


def files_below(folder: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }


def setup_cfg() -> ConfigParser:
    found = ConfigParser()
    found.read(ROOT / 'setup.cfg')
    return found


def import_names(requirements: Iterable[str]) -> set[str]:
    names = [re.match(r'[\w-]+', line)[0] for line in requirements if line and not line.startswith('#')]
    return {IMPORT_NAMES.get(name, name.replace('-', '_')) for name in names}


def declared() -> set[str]:
    """What ``pip install 'ovkd_mm[all]'`` brings, by import name."""
    extras = setup_cfg()['options.extras_require']
    listed = [
        setup_cfg()['options']['install_requires'],
        *(extras[name] for name in ('det', 'seg', 'pretrain', 'tune')),
    ]
    return import_names('\n'.join(listed).splitlines())


def imported() -> set[str]:
    """The top-level modules that the package and the tools import, wherever the statement stands."""
    names = set()
    for folder in ('ovkd_mm', 'tools'):
        for path in (ROOT / folder).rglob('*.py'):
            for node in ast.walk(ast.parse(path.read_text(), str(path))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition('.')[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names.add(node.module.partition('.')[0])
    return names


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp('source')
    for name in ('ovkd_mm', 'configs', 'tools'):
        shutil.copytree(ROOT / name, source / name, symlinks=True)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, source)
    (source / 'configs/__pycache__').mkdir(exist_ok=True)
    (source / 'configs/__pycache__/left_over.cpython-311.pyc').touch()
    out = tmp_path_factory.mktemp('wheel')
    subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', str(source), '--no-deps', '--no-build-isolation', '-w', str(out)],
        check=True,
    )
    (path,) = out.glob('ovkd_mm-*.whl')
    return path


@pytest.fixture(scope='module')
def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_carries_every_config_and_tool_and_no_left_over(contents):
    carried = {name for name in contents if name.startswith('ovkd_mm/.mim/')}
    expected = files_below('configs') | files_below('tools') | {'model-index.yml'}
    assert carried == {f'ovkd_mm/.mim/{name}' for name in expected}


def test_the_wheel_carries_every_file_of_the_package(contents):
    files = {name for name in files_below('ovkd_mm') if '/.mim/' not in name}
    assert {name for name in contents if name.startswith('ovkd_mm/') and '/.mim/' not in name} == files


def test_the_model_index_names_every_metafile_and_only_files_of_the_wheel(contents):
    metafiles = yaml.safe_load(contents['ovkd_mm/.mim/model-index.yml'])['Import']
    assert set(metafiles) == {name for name in files_below('configs') if name.endswith('metafile.yml')}
    for metafile in metafiles:
        models = yaml.safe_load(contents[f'ovkd_mm/.mim/{metafile}'])['Models']
        assert models
        for model in models:
            assert f'ovkd_mm/.mim/{model["Config"]}' in contents, model['Name']


def test_the_metadata_tells_version_python_and_extras(contents):
    (name,) = (name for name in contents if name.endswith('.dist-info/METADATA'))
    metadata = email.message_from_bytes(contents[name])
    assert metadata['Version'] == ovkd_mm.__version__
    assert metadata['Requires-Python'] == '>=3.10'
    assert set(metadata.get_all('Provides-Extra')) == {'det', 'seg', 'pretrain', 'tune', 'all', 'dev'}


def test_the_wheel_tells_type_checkers_that_it_is_typed(contents):
    assert contents['ovkd_mm/py.typed'] == b''


def test_every_import_is_declared():
    # torch brings triton along where there can be a GPU; elsewhere nothing asks for it.
    assert imported() - {'ovkd_mm', 'triton'} - sys.stdlib_module_names <= declared()


def test_make_install_brings_everything_that_is_declared():
    installed = [(ROOT / f'requirements/{name}.txt').read_text() for name in ('runtime', 'toolkits', 'dev')]
    dev = import_names(setup_cfg()['options.extras_require']['dev'].splitlines())
    assert declared() | dev <= import_names('\n'.join(installed).splitlines())


def test_the_metadata_names_the_systems_that_the_imports_allow():
    systems = [
        line.strip() for line in setup_cfg()['metadata']['classifiers'].splitlines() if 'Operating System' in line
    ]
    assert systems == ['Operating System :: ' + ('POSIX' if imported() & POSIX_ONLY else 'OS Independent')]


def test_an_installed_wheel_finds_its_configs_and_tools_from_another_folder(wheel, contents, tmp_path):
    site, elsewhere = tmp_path / 'site', tmp_path / 'elsewhere'
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    metafile = yaml.safe_load(contents['ovkd_mm/.mim/configs/ssd300/metafile.yml'])
    configs = [model['Config'].removeprefix('configs/') for model in metafile['Models']]
    script = (
        'import sys, ovkd_mm\n'
        'from mmengine.hub import get_config\n'
        f'print(ovkd_mm.__file__, *(get_config("ovkd_mm::" + name).filename for name in {configs}), sep="\\n")\n'
    )
    environment = {**os.environ, 'PYTHONPATH': str(site), 'PIP_NO_INDEX': '1'}

    def run(*arguments):
        python = [sys.executable, *arguments]
        return subprocess.run(
            python, cwd=elsewhere, env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    package, *found = run('-c', script).split()
    assert Path(package) == site / 'ovkd_mm/__init__.py'
    assert found == [str(site / 'ovkd_mm/.mim/configs' / name) for name in configs]
    assert '--cfg-options' in run(str(site / 'ovkd_mm/.mim/tools/train.py'), '--help')


def test_the_workflow_runs_on_every_python_that_the_metadata_names():
    job = yaml.safe_load((ROOT / '.github/workflows/ci.yml').read_text())['jobs']['test']
    assert '.ci/run' in [step.get('run') for step in job['steps']]
    named = re.findall(r'Python :: (3\.\d+)', setup_cfg()['metadata']['classifiers'])
    assert job['strategy']['matrix']['python'] == named


def test_a_commit_is_checked_by_what_make_lint_runs():
    (repository,) = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())['repos']
    hooks = [hook['entry'].removesuffix(' --force-exclude') for hook in repository['hooks']]
    lint = re.search(r'^lint:.*\n((?:\t.*\n)+)', (ROOT / 'Makefile').read_text(), re.MULTILINE)[1]
    run = re.findall(r'\$\(PY\) (-m .*)', lint)
    assert hooks == [re.sub(r'( --check)?( \.)?$', '', f'python {command}') for command in run]
