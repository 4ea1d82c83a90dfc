"""How an environment is filled, in real virtual environments."""

import json
import os
import shutil
import subprocess
import sys
import venv
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


class Environment:
    """A real virtual environment, with a pip that writes down what it is asked to install."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True)
        self.folder = folder
        (self.site,) = folder.glob('lib/python*/site-packages')
        self.fail = folder / 'pip-fails'
        (self.site / 'pip').mkdir()
        (self.site / 'pip/__init__.py').touch()
        (self.site / 'pip/__main__.py').write_text(
            'import json, pathlib, sys\n'
            'arguments = sys.argv[1:]\n'
            'if "--constraint" in arguments:\n'
            '    arguments.append(pathlib.Path(arguments[arguments.index("--constraint") + 1]).read_text())\n'
            'print("PIP", json.dumps(arguments))\n'
            f'sys.exit(pathlib.Path({str(self.fail)!r}).exists())\n'
        )

    def add(self, module: str, distribution: str = '', version: str = '1.0') -> None:
        (self.site / module).mkdir()
        (self.site / module / '__init__.py').touch()
        metadata = self.site / f'{distribution or module}-{version}.dist-info'
        metadata.mkdir()
        (metadata / 'METADATA').write_text(f'Name: {distribution or module}\nVersion: {version}\n')

    def add_all(self) -> None:
        for name in ('toolkits', 'runtime', 'dev'):
            for module in dict.fromkeys(installer().read_requirements(ROOT / f'requirements/{name}.txt').values()):
                if not (self.site / module).exists():
                    self.add(module)
        (self.site / 'checkout.pth').write_text(str(ROOT))

    def install(self, *arguments: str) -> tuple[subprocess.CompletedProcess, list[list[str]]]:
        command = [str(self.folder / 'bin/python'), str(ROOT / 'requirements/install.py'), *arguments]
        result = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        calls = [json.loads(line[4:]) for line in result.stdout.splitlines() if line.startswith('PIP ')]
        return result, calls


def installer():
    """Import ``requirements/install.py``."""
    spec = spec_from_file_location('install', ROOT / 'requirements/install.py')
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def environment(tmp_path, monkeypatch):
    monkeypatch.delenv('PYTHONPATH', raising=False)
    return Environment(tmp_path / 'env')


def test_an_empty_environment_gets_everything_and_toolkits_come_without_dependencies(environment):
    result, (toolkits, others) = environment.install()
    assert result.returncode == 0, result.stderr
    assert '--no-deps' in toolkits and '--no-deps' not in others
    assert {'mmengine==0.10.7', 'mmcv-lite==2.1.0', 'mmdet==3.3.0', 'mmsegmentation==1.2.2'} < set(toolkits)
    assert toolkits[-2:] == ['--editable', str(ROOT)]
    assert {'torchvision', 'opencv-python-headless', 'pyyaml', 'setuptools', 'pytest==9.2.0'} < set(others)
    assert any(argument.startswith('torch==2.15.0;') for argument in others)


def test_what_is_there_is_kept_whoever_brings_it(environment):
    environment.add('torch', version='2.1.2')
    environment.add('setuptools', version='65.5.0')
    environment.add('mmengine', 'onedl_mmengine', '0.10.12')
    environment.add('mmcv', version='2.1.0')
    environment.add('mmseg', 'onedl_mmsegmentation', '1.4.2')
    environment.add('cv2', 'opencv_python', '4.8.1.78')
    _, (toolkits, others) = environment.install()
    asked = ' '.join([*toolkits, *others[:-1]])
    for name in ('torch==', 'mmengine', 'mmcv', 'mmsegmentation', 'opencv'):
        assert name not in asked
    assert 'mmdet==3.3.0' in toolkits and 'torchvision' in others
    constraints = others[-1].splitlines()
    assert {'torch==2.1.2', 'onedl_mmengine==0.10.12', 'opencv_python==4.8.1.78'} <= set(constraints)
    assert 'setuptools==65.5.0' not in constraints  # or new torch, which asks for a newer one, could not come


def test_the_forks_come_in_place_of_the_toolkits(environment):
    result, (toolkits, others) = environment.install('onedl')
    assert result.returncode == 0, result.stderr
    asked = {name.partition('==')[0] for name in toolkits if name.startswith('onedl')}
    assert asked == {f'onedl-{name}' for name in ('mmengine', 'mmcv', 'mmdetection', 'mmsegmentation', 'mmpretrain')}
    assert '--no-deps' in toolkits and '--only-binary' not in toolkits  # most of them come as sources alone
    assert '--only-binary' in others and any(argument.startswith('torch==') for argument in others)


def test_toolkits_that_are_there_are_kept_though_the_forks_are_asked_for(environment):
    environment.add_all()
    _, (call,) = environment.install('onedl')
    assert not any(argument.startswith(('onedl', 'mm')) for argument in call)


def test_the_forks_are_imported_as_the_toolkits_are():
    read = installer().read_requirements
    names = [set(read(ROOT / f'requirements/{name}.txt').values()) for name in ('toolkits', 'onedl')]
    assert names[0] < names[1]


def test_a_folder_without_code_does_not_count_as_a_toolkit(environment):
    environment.add_all()
    (environment.site / 'mmdet/__init__.py').unlink()
    _, (call,) = environment.install()
    assert call[-1] == 'mmdet==3.3.0'


def test_a_full_environment_is_left_alone(environment):
    environment.add_all()
    result, calls = environment.install()
    assert result.returncode == 0 and calls == []
    assert 'nothing to install' in result.stdout


def test_another_copy_of_the_package_gives_way_to_this_checkout(environment):
    environment.add_all()
    (environment.site / 'checkout.pth').unlink()
    environment.add('ovkd_mm')
    _, (call,) = environment.install()
    assert call[-2:] == ['--editable', str(ROOT)]


def test_an_installation_that_was_cut_short_is_taken_up_again(environment):
    environment.add_all()
    shutil.rmtree(environment.site / 'torch')
    environment.fail.touch()
    result, _ = environment.install()
    assert result.returncode != 0 and str(environment.folder) in result.stderr
    environment.fail.unlink()
    (environment.site / 'torch').mkdir()
    (environment.site / 'torch/__init__.py').touch()
    _, (call,) = environment.install()
    assert any(argument.startswith('torch==') for argument in call)
    assert environment.install()[1] == []


def test_docs_need_their_own_requirements_alone_and_nothing_else_needs_them(environment):
    result, (call,) = environment.install('docs')
    assert result.returncode == 0, result.stderr
    asked = call[call.index('--constraint') + 2 : -1]
    assert {'mkdocs', 'mkdocs-material', 'mkdocstrings[python]'} < {name.partition('==')[0] for name in asked}
    assert not any(name.startswith(('torch', 'mmengine', '--editable')) for name in asked)
    environment.add_all()
    assert environment.install()[1] == []
    assert environment.install('docs')[1] != []


def test_an_installation_that_was_cut_short_is_not_forgotten_while_the_docs_are_installed(environment):
    environment.fail.touch()
    assert environment.install()[0].returncode != 0
    environment.fail.unlink()
    environment.install('docs')
    environment.add_all()  # what a pip that was cut short leaves: there, perhaps in part
    _, calls = environment.install()
    assert any(argument.startswith('torch==') for call in calls for argument in call)
    assert environment.install()[1] == []


def test_an_unknown_file_of_requirements_is_refused(environment):
    result, calls = environment.install('dcos')
    assert result.returncode == 2 and calls == []
    assert 'docs' in result.stderr and 'onedl' in result.stderr


@pytest.mark.skipif(shutil.which('make') is None, reason='needs make')
def test_make_refuses_to_build_an_environment_with_an_old_python(tmp_path):
    old = tmp_path / 'python'
    old.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.20 && exit\n'
        f'[ "$1" = -c ] && exec {sys.executable} -c "import sys; sys.version_info = (3, 8, 20)\n$2"\n'
        f'exec {sys.executable} "$@"\n'
    )
    old.chmod(0o755)
    target = tmp_path / 'env'
    command = ['make', 'install', f'VENV={target}', f'PYTHON={old}']
    offline = {**os.environ, 'PIP_NO_INDEX': '1', 'PIP_FIND_LINKS': ''}  # should it begin to install after all
    result = subprocess.run(command, cwd=ROOT, env=offline, capture_output=True, text=True)
    assert result.returncode != 0
    assert 'Python 3.8.20' in result.stdout and 'PYTHON=/path/to/python3.11' in result.stdout
    assert not target.exists()
