"""What all tests share."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault('TRITON_INTERPRET', '1')  # before triton is imported: kernels then run on a CPU
from mmengine.registry import DefaultScope

import ovkd_mm  # noqa: F401  (first: it lets the toolkits import without a compiled mmcv)

SHARED = Path(__file__).resolve().parents[2] / 'shared'
TRAIN = ('test_tools', 'test_demo', 'test_compare')


@pytest.fixture(autouse=True)
def _independent():
    """A test does not depend on those before it: neither on their random numbers nor on a Runner's default scope."""
    torch.manual_seed(0)
    np.random.seed(0)
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='session')
def golden() -> dict[str, torch.Tensor]:
    """Random features, and what the code of the method's authors makes of them (clovaai/overhaul-distillation).

    The larger ones, ``pl2_0`` and ``pl2_2``, are only beside a checkout.
    """
    found = {}
    for path in (Path(__file__).with_name('reference.npz'), SHARED / 'golden' / 'reference.npz'):
        if path.exists():
            with np.load(path) as arrays:
                found |= {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}
    return found


@pytest.fixture(scope='session')
def published() -> dict[str, torch.Tensor]:
    """Random inputs, and the losses and gradients that published code makes of them: CWD, PKD, DIST, DKD and MGD."""
    with np.load(Path(__file__).with_name('methods.npz')) as arrays:
        return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}


@pytest.fixture(scope='session')
def voc_animals(tmp_path_factory) -> Path:
    """VOCdevkit with 320 real images."""
    import tarfile

    path = SHARED / 'data' / 'voc_animals' / 'mini.tar'
    if not path.exists():
        pytest.skip(f'no real images at {path}')
    folder = tmp_path_factory.mktemp('voc_animals')
    with tarfile.open(path) as tar:
        tar.extractall(folder, filter='data')
    return folder / 'VOCdevkit'


def pytest_collection_modifyitems(items):
    """Files that take minutes come first, so that none of them is waited for; GPU tests skip."""
    items.sort(key=lambda item: item.path.parent.name not in TRAIN and item.path.stem != 'test_upstream_configs')
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker('cuda'):
                item.add_marker(pytest.mark.skip(reason='no GPU'))
