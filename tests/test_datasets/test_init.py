import subprocess
import sys

import pytest

SCRIPT = """
import sys
sys.modules['{missing}'] = None  # as if it were not installed
import ovkd_mm
from mmengine.registry import DATASETS, TRANSFORMS
names = ['VOCDataset', 'PascalVOCDataset', 'LoadMask']
print([name for name in names if DATASETS.get('ovkd_mm.' + name) or TRANSFORMS.get('ovkd_mm.' + name)])
DATASETS.build(dict(type='ovkd_mm.{wanted}', ann_file=''))
"""


@pytest.mark.parametrize(
    ('missing', 'there', 'wanted'),
    [('mmdet', ['PascalVOCDataset', 'LoadMask'], 'VOCDataset'), ('mmseg', ['VOCDataset'], 'PascalVOCDataset')],
)
def test_one_toolkit_is_enough_and_what_needs_the_other_is_not_in_the_registry(missing, there, wanted):
    script = SCRIPT.format(missing=missing, wanted=wanted)
    run = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=False)
    assert run.stdout.splitlines()[-1] == str(there), run.stderr
    assert f"KeyError: 'ovkd_mm.{wanted} is not in the" in run.stderr
