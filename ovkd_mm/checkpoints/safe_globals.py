"""The names that a checkpoint of mmengine may mention beyond torch's own, and what they stand for."""

import functools
import math
import pickle
from typing import Any

import numpy as np

# What log histories, best scores, palettes and whatever else a data set says of itself are made of.
_PLAIN_DTYPES = ('b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8', 'c8', 'c16')


@functools.cache
def safe_globals() -> dict[str, Any]:
    """What to put in the place of a name that a pickle asks for.

    ``torch.save`` writes the methods that a ``HistoryBuffer`` refers to as calls of ``getattr``, and arrays as calls of
    ``numpy.dtype``. Both would let a file reach further than it needs, so their names stand for narrower functions.

    Returns:
        Objects by full name, ``'module.name'``.
    """
    from mmengine.logging.history_buffer import HistoryBuffer

    return {
        f'{HistoryBuffer.__module__}.HistoryBuffer': HistoryBuffer,
        _ONE_CYCLE: _ONE_CYCLE,
        'builtins.getattr': _method,
        'numpy.ndarray': _ARRAY,
        'numpy.dtype': _plain_dtype,
        # numpy.core until numpy 1, numpy._core since numpy 2
        **{f'numpy.{core}.multiarray._reconstruct': _reconstruct for core in ('core', '_core')},
        **{f'numpy.{core}.multiarray.scalar': _scalar for core in ('core', '_core')},
    }


# Stand for themselves: the class is named only to get at its methods, and numpy's to say what to reconstruct.
_ARRAY = 'numpy.ndarray'
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
    if type(code) is not str or code not in _PLAIN_DTYPES:
        raise pickle.UnpicklingError(f'GLOBAL numpy.dtype:{code}')
    return np.dtype(code)


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """Answer for numpy's: an empty array, which :func:`fill_array` gives its numbers."""
    if kind is not _ARRAY or shape != (0,):
        raise pickle.UnpicklingError('GLOBAL numpy._reconstruct')
    return np.empty(0, 'b')


def fill_array(array: np.ndarray, state: Any) -> None:
    """Set the state that a file has for an array, once and only if all of it fits.

    Raises:
        pickle.UnpicklingError: The array is not empty, or the state is not that of plain numbers.
    """
    _, shape, dtype, _, data = state if type(state) is tuple and len(state) == 5 else (None,) * 5
    if array.shape != (0,) or type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape):
        raise pickle.UnpicklingError('an array of numpy with a broken state')
    _check_data(dtype, data, math.prod(shape))
    array.__setstate__(state)


def _scalar(dtype: Any, data: Any) -> np.generic:
    """Answer for numpy's."""
    _check_data(dtype, data, 1)
    return np.frombuffer(data, dtype)[0]


def _check_data(dtype: Any, data: Any, count: int) -> None:
    if not isinstance(dtype, np.dtype) or dtype.str[1:] not in _PLAIN_DTYPES:
        raise pickle.UnpicklingError('GLOBAL numpy.dtype')
    if type(data) is not bytes or len(data) != count * dtype.itemsize:
        raise pickle.UnpicklingError(f'numpy data whose size is not that of {count} numbers of type {dtype}')


__all__ = ['fill_array', 'safe_globals']
