import subprocess
import sys

SCRIPT = """
import sys
from mmengine.registry import MODELS, HOOKS, TASK_UTILS
for registry, name in ((MODELS, 'FeatureDistiller'), (HOOKS, 'CheckpointFitHook'), (TASK_UTILS, 'PreReLU')):
    assert registry.get(f'ovkd_mm.{name}') is not None, name
print([name for name in ('mmcv', 'mmdet', 'mmseg', 'mmpretrain') if name in sys.modules])
"""


def test_a_name_in_a_config_is_enough_to_find_a_part_and_the_core_imports_no_toolkit():
    run = subprocess.run([sys.executable, '-c', SCRIPT], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == '[]'
