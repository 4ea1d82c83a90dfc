"""What all tests share."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

import ovkd_mm  # noqa: F401  (first: it lets the toolkits import without a compiled mmcv)

SHARED = Path(__file__).resolve().parents[2] / 'shared'


@pytest.fixture(autouse=True)
def _independent():
    """A test does not depend on those before it: neither on their random numbers nor on a Runner's default scope."""
    torch.manual_seed(0)
    np.random.seed(0)
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='session')
def golden() -> dict[str, torch.Tensor]:
    """Numbers from the code of the method's authors."""
    path = SHARED / 'golden' / 'reference.npz'
    if not path.exists():
        pytest.skip(f'no reference numbers at {path}')
    with np.load(path) as arrays:
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
    """GPU tests skip by themselves."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker('cuda'):
                item.add_marker(pytest.mark.skip(reason='no GPU'))
