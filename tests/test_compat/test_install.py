import subprocess
import sys

from ovkd_mm import compat


def test_installing_again_changes_nothing():
    finders = list(sys.meta_path)
    compat.install()
    assert sys.meta_path == finders


def test_importing_the_package_imports_neither_torch_nor_a_toolkit():
    code = """
import sys
before = set(sys.modules)
import ovkd_mm
print(sorted({name.partition('.')[0] for name in set(sys.modules) - before} & set(
    'torch torchvision numpy mmengine mmcv mmdet mmseg mmpretrain'.split())))
"""
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.stdout == '[]\n', result.stderr
