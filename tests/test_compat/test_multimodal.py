import subprocess
import sys
from types import SimpleNamespace

import pytest

from ovkd_mm.compat import multimodal


def installed(monkeypatch, folder, names):
    """A transformers with these names."""
    (folder / 'modeling_utils.py').write_text('\n'.join(f'def {name}(): ...' for name in names))
    spec = SimpleNamespace(submodule_search_locations=[str(folder)])
    monkeypatch.setattr(multimodal, 'find_spec', lambda name: spec if name == 'transformers' else None)


@pytest.mark.parametrize('asked', [True, False])
def test_multimodal_models_stay_where_transformers_has_what_they_need(monkeypatch, tmp_path, asked):
    installed(monkeypatch, tmp_path, multimodal.NEEDED)
    dependency = SimpleNamespace(WITH_MULTIMODAL=asked)
    multimodal.patch(dependency)
    assert dependency.WITH_MULTIMODAL is asked


@pytest.mark.parametrize('missing', multimodal.NEEDED)
def test_they_are_left_out_where_it_lacks_a_name(monkeypatch, tmp_path, missing):
    installed(monkeypatch, tmp_path, [name for name in multimodal.NEEDED if name != missing])
    dependency = SimpleNamespace(WITH_MULTIMODAL=True)
    multimodal.patch(dependency)
    assert dependency.WITH_MULTIMODAL is False


def test_mmpretrain_is_imported_beside_a_newer_transformers_and_says_what_its_multimodal_models_need(tmp_path):
    package = tmp_path / 'transformers'
    package.mkdir()
    (package / '__init__.py').write_text('')
    (package / 'modeling_utils.py').write_text('class PreTrainedModel: ...')
    info = tmp_path / 'transformers-5.0.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: transformers\nVersion: 5.0.0\n')
    code = """
import ovkd_mm
from mmpretrain.utils.dependency import satisfy_requirement
print(satisfy_requirement('transformers>=4.28.0'))
from mmpretrain.models import MODELS
MODELS.build(dict(type='mmpretrain.BlipCaption'))
"""
    code = f'import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}'
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert run.stdout.splitlines()[-1] == 'True', run.stderr
    assert 'requires extra multi-modal dependencies' in run.stderr
