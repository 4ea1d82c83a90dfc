"""Where a run took place, for the table."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ..toolkits import TOOLKITS
from ..version import __version__

__all__ = ['environment']

PACKAGES = (
    *('mmengine', 'onedl-mmengine', 'mmcv', 'mmcv-lite', 'onedl-mmcv'),
    *(package for toolkit in TOOLKITS.values() for package in toolkit.packages),
)


def environment() -> dict[str, str]:
    """Commit (of a checkout), versions, and the device on which mmengine trains."""
    versions = dict(ovkd_mm=__version__, Python=platform.python_version(), torch=torch.__version__)
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return dict(
        commit=_commit(), versions=', '.join(f'{name} {number}' for name, number in versions.items()), device=_device()
    )


def _commit() -> str:
    folder = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        command = ['git', '-C', str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git('ls-files', '--error-unmatch', '__init__.py')  # an installed copy may lie in someone else's checkout
        return git('rev-parse', '--short', 'HEAD') + (' with changes' if git('status', '--porcelain') else '')
    except (OSError, subprocess.CalledProcessError):
        return 'not in git'


def _device() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return f'CPU; cores: {cores}, threads: {torch.get_num_threads()}'
