"""Random-number states."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ['preserve_rng_state']


@contextmanager
def preserve_rng_state() -> Iterator[None]:
    """Leave the states of ``random``, numpy and torch (CPU and GPUs) as they were before the block.

    Whatever only distillation has to build (a teacher, connectors, a trace) draws its random numbers in such a block,
    so that the student starts from the same numbers as when it is trained alone.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
