"""How the table of tested versions comes about: environments and tests are made up, the table is real."""

import json
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROW = '| {python} | 2.15.0 | 2.4.6 | 84.2.1 | 0.10.7, 2.1.0, 3.3.0, 1.2.2, 1.2.0 ({kind}) | {told} |'
OLD = ROW.format(python='3.11.7', kind='mmcv-lite', told='7 passed')
FORKS = ROW.format(python='3.12.1', kind='onedl', told='7 passed')


@pytest.fixture
def matrix(tmp_path, monkeypatch):
    spec = spec_from_file_location('matrix', ROOT / 'requirements/matrix.py')
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, 'WORK', tmp_path / 'work')
    monkeypatch.setattr(module, 'README', tmp_path / 'README.md')
    module.README.write_text(f'before\n\n{module.HEAD}\n|---|\n{OLD}\n{FORKS}\n\nafter\n\n| another | table |\n')
    monkeypatch.setenv('PYENV_ROOT', str(tmp_path / 'pyenv'))
    monkeypatch.setenv('PATH', f'{tmp_path}/bin:/usr/bin:/bin')
    return module


def write_python(path: Path, minor: str, fails: bool = False) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho {minor}\nexit {int(fails)}\n')
    path.chmod(0o755)
    return str(path)


def rows(matrix) -> list[str]:
    return [line for line in matrix.README.read_text().splitlines() if line.startswith('| 3.')]


def test_a_python_is_named_or_on_the_path_or_pyenvs_and_can_make_environments(matrix, tmp_path):
    write_python(tmp_path / 'bin/python3.10', '3.10', fails=True)  # pyenv's stand-in for one that is not chosen
    shim = write_python(tmp_path / 'pyenv/versions/3.10.13/bin/python', '3.10')
    named = write_python(tmp_path / 'own/python', '3.14')
    write_python(tmp_path / 'bin/python3.14', '3.14')
    write_python(tmp_path / 'bin/python3.13', '3.13')
    found = matrix.find_pythons([named, str(tmp_path / 'no/such/python')])
    assert (found['3.10'], found['3.13'], found['3.14']) == (shim, 'python3.13', named)


def test_a_row_takes_the_place_of_that_of_the_same_python_and_toolkits(matrix):
    new = [
        ROW.format(python='3.13.0', kind='mmcv-lite', told='9 passed'),
        ROW.format(python='3.9.1', kind='mmcv-lite', told='9 passed'),
        ROW.format(python='3.11.9', kind='mmcv-lite', told='9 passed'),
    ]
    matrix.write_rows(new)
    assert rows(matrix) == [new[1], new[2], new[0], FORKS]
    text = matrix.README.read_text()
    assert text.startswith(f'before\n\n{matrix.HEAD}\n|---|\n') and text.endswith('\n\nafter\n\n| another | table |\n')


def test_it_skips_what_is_not_there_goes_on_after_what_passed_and_tries_again_what_failed(matrix, monkeypatch, capsys):
    broken = FORKS.replace('3.12.1', '3.13.5').replace('7 passed', '1 failed')
    asked, outcome = [], {'3.12-toolkits': (False, ''), '3.13-onedl': (False, broken)}

    def try_environment(python, toolkits, name):
        asked.append((python, toolkits, name))
        (matrix.WORK / name).mkdir(exist_ok=True)
        passed = ROW.format(python=f'{name.partition("-")[0]}.5', kind='mmcv-lite', told='9 passed')
        return outcome.get(name, (True, passed))

    monkeypatch.setattr(matrix, 'try_environment', try_environment)
    monkeypatch.setattr(
        matrix, 'find_pythons', lambda named: {minor: f'py{minor}' for minor in ('3.11', '3.12', '3.13')}
    )
    assert not matrix.main([])
    assert [name for *_, name in asked] == ['3.11-toolkits', '3.12-toolkits', '3.13-toolkits', '3.13-onedl']
    assert asked[3][:2] == ('py3.13', 'onedl')
    out = capsys.readouterr().out
    assert '3.10-toolkits: skipped, no Python 3.10 here' in out and '3.12-toolkits: could not be installed' in out
    assert [row.split(' | ')[-1] for row in rows(matrix)] == ['9 passed |'] * 2 + ['7 passed |', '1 failed |']
    left = [folder.name for folder in matrix.WORK.iterdir() if folder.is_dir()]
    assert sorted(left) == ['3.12-toolkits', '3.13-onedl']  # to look into, and to go on with
    asked.clear()
    outcome.clear()
    assert matrix.main([])
    assert [name for *_, name in asked] == ['3.12-toolkits', '3.13-onedl']
    assert len(json.loads((matrix.WORK / 'passed.json').read_text())) == 4


@pytest.mark.parametrize(
    ('answer', 'status', 'told'),
    [
        ('SKIPPED [8] no GPU\n725 passed, 16 skipped in 112.37s (0:01:52)', 0, '725 passed, 16 skipped'),
        ('3 failed, 722 passed in 99.10s', 1, '3 failed, 722 passed'),
        ('1 error in 2.31s', 2, '1 error, exit status 2'),
        ('725 passed in 99.10s\nSegmentation fault', -11, '725 passed, exit status -11'),
        ('killed', -9, 'broke off, exit status -9'),
    ],
)
def test_a_row_tells_the_versions_and_how_the_tests_ended(matrix, monkeypatch, answer, status, told):
    def run(command, stdout, **options):
        if 'pytest' in command:
            assert 'tests/test_distillers' in command
            stdout.write(answer + '\n')
            return subprocess.CompletedProcess(command, status)
        assert 'transformers' in command or ('TOOLKITS=onedl' in command and 'PYTHON=py3.14' in command)
        return subprocess.CompletedProcess(command, 0)

    matrix.WORK.mkdir()
    monkeypatch.setattr(matrix.subprocess, 'run', run)
    monkeypatch.setattr(matrix.subprocess, 'check_output', lambda *command, **options: '3.14.8 2.15.0 2.5.5 84.2.1\n')
    good, row = matrix.try_environment('py3.14', 'onedl', '3.14-onedl')
    assert good is (status == 0)
    assert row == f'| 3.14.8 | 2.15.0 | 2.5.5 | 84.2.1 | 0.10.12, 2.3.6, 3.5.1, 1.4.2, 1.3.6 (onedl) | {told} |'


def test_an_environment_that_cannot_be_made_has_no_row(matrix, monkeypatch):
    matrix.WORK.mkdir()
    monkeypatch.setattr(matrix.subprocess, 'run', lambda command, **options: subprocess.CompletedProcess(command, 2))
    assert matrix.try_environment('py3.14', 'toolkits', '3.14-toolkits') == (False, '')


def test_the_core_tests_and_the_readmes_table_are_there(matrix):
    assert [part for part in matrix.CORE if not (ROOT / part).exists()] == []
    assert matrix.HEAD in (ROOT / 'README.md').read_text()
