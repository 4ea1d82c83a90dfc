import shutil
import subprocess

import pytest
import torch

from ovkd_mm.compare import environment as module
from ovkd_mm.compare.environment import environment


def test_versions_and_device_are_those_of_this_process():
    found = environment()
    assert list(found) == ['commit', 'versions', 'device']
    assert f'torch {torch.__version__}' in found['versions']
    assert 'mmengine ' in found['versions']
    assert ('CPU' in found['device']) != torch.cuda.is_available()


@pytest.mark.skipif(shutil.which('git') is None, reason='no git')
def test_the_commit_is_that_of_a_checkout_of_ours_alone(tmp_path, monkeypatch):
    def git(*arguments: str) -> str:
        names = ['-c', 'user.name=n', '-c', 'user.email=e']
        return subprocess.run(
            ['git', '-C', str(tmp_path), *names, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    (tmp_path / 'package/compare').mkdir(parents=True)
    file = tmp_path / 'package/__init__.py'
    file.touch()
    monkeypatch.setattr(module, '__file__', str(tmp_path / 'package/compare/environment.py'))
    monkeypatch.setenv('GIT_CEILING_DIRECTORIES', str(tmp_path.parent))
    assert environment()['commit'] == 'not in git'
    git('init')
    git('commit', '--allow-empty', '-m', "someone else's")
    assert environment()['commit'] == 'not in git'
    git('add', '.')
    git('commit', '-m', 'ours')
    assert environment()['commit'] == git('rev-parse', '--short', 'HEAD')
    file.write_text('changed')
    assert environment()['commit'] == git('rev-parse', '--short', 'HEAD') + ' with changes'
