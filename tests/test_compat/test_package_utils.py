import subprocess
import sys
import types
import warnings

import pytest

from ovkd_mm.compat import package_utils


@pytest.mark.parametrize('imports', ['ovkd_mm, mmengine.config', 'mmengine.config, ovkd_mm'])
def test_a_config_of_a_toolkit_is_read_without_the_warning(imports):
    config = "_base_ = 'mmdet::_base_/default_runtime.py'"
    code = f'import {imports}; mmengine.config.Config.fromstring({config!r}, ".py")'
    run = subprocess.run([sys.executable, '-W', 'always', '-c', code], capture_output=True, text=True, check=True)
    assert 'pkg_resources' not in run.stderr


@pytest.mark.parametrize('name', ['is_installed', 'get_installed_path'])
def test_other_warnings_come_through(name):
    def look(package):
        warnings.warn('pkg_resources is deprecated as an API. See ...', stacklevel=1)
        warnings.warn(f'{package} is broken', stacklevel=1)
        return True

    module = types.SimpleNamespace(**{name: look})  # a fork may lack the other
    package_utils.mend(module)
    mended = getattr(module, name)
    package_utils.mend(module)
    assert vars(module) == {name: mended}
    with pytest.warns(UserWarning) as caught:
        assert mended(package='torch')
        warnings.warn('pkg_resources is deprecated as an API, says another', stacklevel=1)
    said = [str(warning.message) for warning in caught]
    assert said == ['torch is broken', 'pkg_resources is deprecated as an API, says another']
