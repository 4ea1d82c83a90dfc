"""Starts the tools from a process that has imported the libraries they need, which takes most of a start.

The process does nothing else, and every run is a copy of it with a path, an environment and a working directory of its
own. It imports neither the toolkits nor this package, so that what those do when they are imported is tested.
"""

import functools
import multiprocessing
import os
import random
import runpy
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import torch

LIBRARIES = [
    'cv2',
    'einops',
    'matplotlib.pyplot',
    'pycocotools.coco',
    'rich.progress',
    'scipy.optimize',
    'shapely.geometry',
    'terminaltables',
    'timm',
    'torch._dynamo',
    'torch.distributed.fsdp',
    'torch.distributed.optim',
    'torchvision',
    'yapf',
]
_CONTEXT = multiprocessing.get_context('forkserver')


def start(script: Path, arguments: Sequence[str], cwd: Path, log: Path, modules: Sequence[Path] = ()) -> BaseProcess:
    """Start a script as ``python script arguments`` would, with its output in a file.

    Args:
        script: The file.
        arguments: What ``sys.argv`` holds after its name.
        cwd: Where it runs.
        log: What it prints, errors too.
        modules: Folders of modules, as in ``PYTHONPATH``.
    """
    log.write_text('')
    _CONTEXT.set_forkserver_preload(LIBRARIES)
    process = _CONTEXT.Process(
        target=_run,
        args=(str(script), list(arguments), str(cwd), str(log), dict(os.environ), [*map(str, modules), *_path()]),
    )
    process.start()
    return process


@functools.cache
def _path() -> list[str]:
    """Where Python looks for modules, but for the folder of the script."""
    code = 'import sys; print(*sys.path[1:], sep="\\n")'
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.splitlines()


def _run(script: str, arguments: list[str], cwd: str, log: str, environment: dict[str, str], path: list[str]) -> None:
    for library in (random, np.random):  # a copy would draw what the others draw
        library.seed()
    torch.seed()
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[:] = [str(Path(script).parent), *path]
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name='__main__')
