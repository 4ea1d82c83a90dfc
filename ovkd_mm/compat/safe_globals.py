"""The names that a checkpoint of mmengine may mention beyond torch's own, and what they stand for."""

import functools
import pickle
from typing import Any

import numpy as np

# What log histories, best scores and palettes are made of.
_PLAIN_DTYPES = ('b1', 'u1', 'i4', 'i8', 'f4', 'f8')


@functools.cache
def safe_globals() -> dict[str, Any]:
    """What to put in the place of a name that a pickle asks for.

    ``torch.save`` writes the methods that a ``HistoryBuffer`` refers to as calls of ``getattr``, and arrays as calls of
    ``numpy.dtype``. Both would let a file reach further than it needs, so their names stand for narrower functions.

    Returns:
        Objects by full name, ``'module.name'``.
    """
    from mmengine.logging.history_buffer import HistoryBuffer

    reconstruct = np.empty(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    return {
        f'{HistoryBuffer.__module__}.HistoryBuffer': HistoryBuffer,
        _ONE_CYCLE: _ONE_CYCLE,
        'builtins.getattr': _method,
        'numpy.ndarray': np.ndarray,
        'numpy.dtype': _plain_dtype,
        **{f'numpy.dtypes.{type(np.dtype(code)).__name__}': type(np.dtype(code)) for code in _PLAIN_DTYPES},
        # numpy.core until numpy 1, numpy._core since numpy 2
        **{f'numpy.{core}.multiarray._reconstruct': reconstruct for core in ('core', '_core')},
        **{f'numpy.{core}.multiarray.scalar': scalar for core in ('core', '_core')},
    }


# Stands for itself: the class is named only to get at its methods.
_ONE_CYCLE = 'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler'


def _method(owner: Any, name: str) -> Any:
    """Answer for ``getattr``, but give out the methods alone that mmengine keeps in a checkpoint."""
    from mmengine.logging.history_buffer import HistoryBuffer
    from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(HistoryBuffer, name)
    if owner is _ONE_CYCLE and name in ('_annealing_cos', '_annealing_linear'):
        return getattr(OneCycleParamScheduler, name)
    raise pickle.UnpicklingError('GLOBAL builtins.getattr')


def _plain_dtype(code: str, align: bool = False, copy: bool = False) -> np.dtype:
    """Answer for ``numpy.dtype``, but only for plain numbers.

    The dtype is numpy's shared one, not a copy, because that one ignores the state the file wants to set on it.
    """
    if code not in _PLAIN_DTYPES:
        raise pickle.UnpicklingError(f'GLOBAL numpy.dtype:{code}')
    return np.dtype(code)


__all__ = ['safe_globals']
