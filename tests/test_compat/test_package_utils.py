import importlib
import subprocess
import sys
import types
from importlib.metadata import PackageNotFoundError

import pytest

from ovkd_mm.compat import package_utils

# Takes pkg_resources away, as setuptools has from version 82 on, and tells who asks for it.
WITHOUT_PKG_RESOURCES = """
import sys

class Gone:
    def find_spec(name, path=None, target=None):
        if name.partition('.')[0] == 'pkg_resources':
            print(name, 'is asked for')
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Gone)
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Installs distributions that consist of metadata and of the modules that are named."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(distribution: str, *modules: str, top_level: str | None = None) -> None:
        metadata = tmp_path / f'{distribution}-1.0.dist-info'
        metadata.mkdir()
        (metadata / 'METADATA').write_text(f'Name: {distribution}\nVersion: 1.0\n')
        if top_level is not None:
            (metadata / 'top_level.txt').write_text(top_level)
        for module in modules:
            (tmp_path / module).mkdir()
            (tmp_path / module / '__init__.py').touch()
        importlib.invalidate_caches()

    install.folder = tmp_path
    return install


def test_a_distribution_is_found_by_any_spelling_of_its_name(site):
    site('mm_toolkit', 'mm_toolkit')
    assert package_utils.is_installed('mm-toolkit')
    assert package_utils.is_installed('mm_toolkit')
    assert package_utils.get_installed_path('mm_toolkit') == str(site.folder / 'mm_toolkit')


def test_a_module_of_another_name_is_found_by_the_distributions_metadata(site):
    site('mmtoolkitation', 'mmkit', top_level='mmkit\nmmkit_tests\n')
    assert package_utils.is_installed('mmtoolkitation')
    assert package_utils.package2module('mmtoolkitation') == 'mmkit'
    assert package_utils.get_installed_path('mmtoolkitation') == str(site.folder / 'mmkit')


@pytest.mark.parametrize('top_level', [None, '', '\n'])
def test_a_distribution_that_does_not_tell_its_modules_is_an_error(site, top_level):
    site('mmtoolkitation', 'mmkit', top_level=top_level)
    with pytest.raises(ValueError, match="'mmtoolkitation' does not tell"):
        package_utils.get_installed_path('mmtoolkitation')


def test_a_module_without_a_distribution_is_found(site):
    (site.folder / 'mm_loose').mkdir()
    (site.folder / 'mm_loose/__init__.py').touch()
    assert package_utils.is_installed('mm_loose')
    assert package_utils.get_installed_path('mm_loose') == str(site.folder / 'mm_loose')


def test_a_folder_without_code_is_not_installed(site):
    (site.folder / 'mm_folder').mkdir()
    assert not package_utils.is_installed('mm_folder')
    with pytest.raises(RuntimeError, match="'mm_folder' is a folder without code"):
        package_utils.get_installed_path('mm_folder')


def test_what_is_not_there_is_not_installed():
    assert not package_utils.is_installed('mm_no_such_package')
    for find in (package_utils.get_installed_path, package_utils.package2module):
        with pytest.raises(PackageNotFoundError, match='mm_no_such_package'):
            find('mm_no_such_package')


def test_only_a_function_that_imports_pkg_resources_gives_way():
    def is_installed(package):
        from pkg_resources import get_distribution

        return get_distribution(package)

    def get_installed_path(package):
        return f'a fork finds {package}'

    module = types.SimpleNamespace(is_installed=is_installed, get_installed_path=get_installed_path)
    for _ in range(2):
        package_utils.patch(module)
        assert vars(module) == dict(is_installed=package_utils.is_installed, get_installed_path=get_installed_path)


@pytest.mark.parametrize(
    'imports', ['ovkd_mm, mmengine.config, mmengine.hub', 'mmengine.config, mmengine.hub, ovkd_mm']
)
def test_mmengine_finds_packages_without_pkg_resources(imports):
    """Whichever is imported first, and though setuptools may still have it."""
    code = f"""
import {imports}
from mmengine.utils import get_installed_path, is_installed
from mmengine.utils.package_utils import install_package

mmengine.config.Config.fromstring("_base_ = 'mmdet::_base_/default_runtime.py'", '.py')
mmengine.hub.get_config('mmdet::_base_/default_runtime.py')
install_package('mmengine')
print(is_installed('mmdet'), get_installed_path('mmdet').endswith('mmdet'))
"""
    result = subprocess.run([sys.executable, '-c', WITHOUT_PKG_RESOURCES + code], capture_output=True, text=True)
    assert result.stdout == 'True True\n', result.stdout + result.stderr


def test_a_config_that_names_a_package_that_is_not_there_says_so():
    code = """
import ovkd_mm
from mmengine.config import Config
Config.fromstring("_base_ = 'mmpose::body/pose.py'", '.py')
"""
    result = subprocess.run([sys.executable, '-c', WITHOUT_PKG_RESOURCES + code], capture_output=True, text=True)
    assert 'mmpose is not installed' in result.stderr
    assert result.stdout == ''
