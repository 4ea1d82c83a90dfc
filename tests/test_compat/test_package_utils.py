import subprocess
import sys
import types
import warnings

import pytest

from ovkd_mm.compat import package_utils


def test_looking_for_a_package_warns_of_nothing_from_the_first_time_on():
    code = (
        'import ovkd_mm\nfrom mmengine.config.config import is_installed\n'
        'from mmengine.utils import get_installed_path\n'
        "assert is_installed('torch') and not is_installed('nosuchpackage')\nprint(get_installed_path('torch'))"
    )
    run = subprocess.run([sys.executable, '-W', 'always', '-c', code], capture_output=True, text=True, check=True)
    assert 'pkg_resources' not in run.stderr
    assert run.stdout.strip().endswith('torch')


def test_other_warnings_come_through():
    def is_installed(package):
        warnings.warn('pkg_resources is deprecated as an API. See ...', stacklevel=1)
        warnings.warn(f'{package} is broken', stacklevel=1)
        return True

    module = types.SimpleNamespace(is_installed=is_installed, get_installed_path=str)
    package_utils.mend(module)
    mended = module.is_installed
    package_utils.mend(module)
    assert module.is_installed is mended
    with pytest.warns(UserWarning) as caught:
        assert module.is_installed('torch')
    assert [str(warning.message) for warning in caught] == ['torch is broken']
