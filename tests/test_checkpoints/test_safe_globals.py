import io
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler import OneCycleLR

from ovkd_mm.checkpoints import restricted_pickle
from ovkd_mm.checkpoints.loading import load_checkpoint_file
from ovkd_mm.checkpoints.safe_globals import fill_array, safe_globals


def unpickled(data, **kwargs):
    return restricted_pickle.limited_to(len(data)).load(io.BytesIO(data), **kwargs)


def through_torch(content, path):
    torch.save(content, path)
    return load_checkpoint_file(path)


def through_the_restricted_pickle(content, path):
    """As torch before 2.6 does."""
    torch.save(content, path)
    return torch.load(path, pickle_module=restricted_pickle, weights_only=False)


LOADERS = pytest.mark.parametrize('load', [through_torch, through_the_restricted_pickle])
REFUSALS = (ValueError, pickle.UnpicklingError)


@LOADERS
def test_a_log_history_keeps_its_numbers_and_methods(load, tmp_path):
    history = HistoryBuffer([1.5, 2.5], [1, 3])
    loaded = load(dict(history=history), tmp_path / 'a.pth')['history']
    for ours, theirs in zip(loaded.data, history.data, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.tolist() == theirs.tolist()
    for name in ('mean', 'min', 'max', 'current'):
        assert loaded.statistics(name) == history.statistics(name)
    loaded.update(4.0)
    assert loaded.current() == 4.0
    assert history.current() == 2.5


@LOADERS
@pytest.mark.parametrize('dtype', ['b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8', 'c8', 'c16'])
def test_numbers_and_arrays_of_numpy_come_back(load, dtype, tmp_path):
    array = np.array([[0, 1, 2]]).astype(dtype)
    others = dict(scalar=array[0, 1], empty=array[:0], point=array[0, 1].reshape(()))
    loaded = load(dict(array=array, **others), tmp_path / 'a.pth')
    assert loaded['array'].dtype == loaded['scalar'].dtype == array.dtype
    assert loaded['array'].tolist() == array.tolist()
    assert loaded['scalar'] == loaded['point'] == 1
    assert (loaded['empty'].shape, loaded['point'].shape) == ((0, 3), ())


@LOADERS
def test_what_a_data_set_says_of_itself_in_numbers_of_numpy_comes_back(load, tmp_path):
    meta = dict(palette=np.ones((2, 3), 'uint16'), ids=np.arange(2, dtype='uint32'), sigmas=np.ones(17, 'float16'))
    loaded = load(dict(meta=dict(dataset_meta=meta)), tmp_path / 'a.pth')['meta']['dataset_meta']
    assert {key: (value.dtype, value.tolist()) for key, value in loaded.items()} == {
        key: (value.dtype, value.tolist()) for key, value in meta.items()
    }


@pytest.mark.parametrize('core', ['core', '_core'])
@LOADERS
def test_arrays_of_numpy_1_and_2_come_back(load, core, tmp_path):
    class Array:
        def __reduce__(self):
            return Reconstruct(), *np.arange(3.0).__reduce__()[1:]

    class Reconstruct:
        __module__ = f'numpy.{core}.multiarray'
        __name__ = __qualname__ = '_reconstruct'

        def __call__(self):
            """Callable, so that it pickles."""

    class Pickler(pickle._Pickler):
        """Writes the name without looking whether this numpy has it."""

        def save(self, obj, save_persistent_id=True):
            if isinstance(obj, Reconstruct):
                self.write(pickle.GLOBAL + f'{obj.__module__}\n{obj.__name__}\n'.encode())
            else:
                super().save(obj, save_persistent_id)

    data = io.BytesIO()
    Pickler(data, protocol=2).dump(dict(array=Array()))
    if load is through_the_restricted_pickle:
        loaded = unpickled(data.getvalue())
    else:
        path = tmp_path / 'a.pth'
        save_zip_with_pickle(data.getvalue(), path)
        loaded = load_checkpoint_file(path)
    assert loaded['array'].tolist() == [0, 1, 2]


def save_zip_with_pickle(data: bytes, path):
    """A checkpoint in torch's zip format whose pickle is the given one."""
    import zipfile

    torch.save({}, path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(name, data if name.endswith('/data.pkl') else content)


@pytest.mark.parametrize('core', ['core', '_core'])
def test_numbers_of_numpy_1_and_2_come_back(core):
    dtype = b'cnumpy\ndtype\nX\x02\x00\x00\x00i4\x89\x88\x87RN}\x86b'
    number = f'cnumpy.{core}.multiarray\nscalar\n'.encode() + dtype + b'C\x04\x07\x00\x00\x00\x86R.'
    found = unpickled(b'\x80\x03' + number)
    assert (found, found.dtype) == (7, np.dtype('i4'))


@LOADERS
@pytest.mark.parametrize('strategy', ['cos', 'linear'])
def test_the_function_of_a_one_cycle_schedule_comes_back(load, strategy, tmp_path):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    schedule = OneCycleLR(optimizer, eta_max=0.1, total_steps=10, anneal_strategy=strategy)
    state = schedule.state_dict()
    assert load(state, tmp_path / 'a.pth')['anneal_func'] is state['anneal_func']


@LOADERS
@pytest.mark.parametrize(
    'value',
    [
        np.array([1, 'a'], dtype=object),
        np.zeros(2, 'V8'),
        np.array(['a']),
        *map(np.dtype, ('O', 'f8,i4', 'M8', 'm8', 'U1', 'S1')),
    ],
    ids=lambda value: str(getattr(value, 'dtype', value)),
)
def test_arrays_of_anything_else_are_refused(load, value, tmp_path):
    with pytest.raises(REFUSALS, match=r'numpy\.dtype:'):
        load(dict(value=value), tmp_path / 'a.pth')


@LOADERS
def test_a_file_cannot_change_a_dtype(load, tmp_path):
    class Swapped:
        def __reduce__(self):
            return np.dtype, ('f8', False, True), (3, '>', None, None, None, -1, -1, 63)

    dtype = load(dict(dtype=Swapped()), tmp_path / 'a.pth')['dtype']
    assert dtype == np.dtype('f8')
    assert dtype.isnative
    assert dtype.flags == 0


class Call:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


class Array:
    """Pickles as an array with the given state."""

    def __init__(self, *state, kind=np.ndarray, shape=(0,)):
        self.reduced = np.empty(0).__reduce__()[0], (kind, shape, b'b'), state

    def __reduce__(self):
        return self.reduced


@LOADERS
@pytest.mark.parametrize(
    'value',
    [
        Call(np.ndarray, (1,), 'O', b'AAAAAAAA'),
        Call(np.ndarray, (1,), 'u8', b'AAAAAAAA'),
        Array(1, (1,), np.dtype('f8'), False, b'AAAAAAAA', kind=np.dtype),
        Array(1, (1,), np.dtype('f8'), False, b'AAAAAAAA', shape=(3,)),
        Array(1, (2,), np.dtype('f8'), False, b'AAAAAAAA'),
        Array(1, (0,), np.dtype('f8'), False, b'AAAAAAAA'),
        Array(1, (-1, -1), np.dtype('f8'), False, b'AAAAAAAA'),
        Array(1, (2**32, 2**32), np.dtype('f8'), False, b''),
        Array(1, (1.0,), np.dtype('f8'), False, b'AAAAAAAA'),
        Array(1, (1,), 'O', False, b'AAAAAAAA'),
        Array(1, (1,), np.dtype('f8'), False, [1]),
        Array(1, (1,), np.dtype('f8')),
        Call(np.float64(0).__reduce__()[0], np.dtype('f8'), b'AAAA'),
        Call(np.float64(0).__reduce__()[0], np.dtype('f8'), b'AAAAAAAAA'),
        Call(np.float64(0).__reduce__()[0], 'O', b'AAAAAAAA'),
    ],
    ids=lambda value: str(value.reduced[1:])[:60],
)
def test_no_array_is_made_of_what_is_none(load, value, tmp_path):
    with pytest.raises(REFUSALS, match=r'numpy'):
        load(dict(value=value), tmp_path / 'a.pth')


def test_what_is_to_be_filled_is_what_numpy_makes_of_an_array():
    reconstruct = safe_globals()['numpy.core.multiarray._reconstruct']
    made = reconstruct(safe_globals()['numpy.ndarray'], (0,), b'b')
    assert (made.shape, made.dtype) == ((0,), np.dtype('b'))
    for other in ((np.ndarray, (0,)), (safe_globals()['numpy.ndarray'], (1,))):
        with pytest.raises(pickle.UnpicklingError, match=r'^GLOBAL numpy\._reconstruct$'):
            reconstruct(*other, b'b')


def test_an_array_is_filled_once():
    # a tensor may share its memory by then
    array, state = np.empty(0, 'b'), (1, (1,), np.dtype('f8'), False, b'AAAAAAAA')
    fill_array(array, state)
    with pytest.raises(pickle.UnpicklingError, match=r'^an array of numpy with a broken state$'):
        fill_array(array, state)


@pytest.mark.parametrize('dtype', [np.dtype('O'), np.dtype('f8,i4'), np.dtype('V8'), np.dtype('M8[s]'), 'f8', None])
def test_an_array_is_filled_with_plain_numbers_alone(dtype):
    with pytest.raises(pickle.UnpicklingError, match=r'^GLOBAL numpy\.dtype$'):
        fill_array(np.empty(0, 'b'), (1, (1,), dtype, False, b'AAAAAAAA'))


@LOADERS
@pytest.mark.parametrize('name', ['register_statistics', '__init__', '__class__', '__reduce__', 'statistics'])
def test_getattr_gives_out_four_methods_only(load, name, tmp_path):
    with pytest.raises(REFUSALS, match='getattr'):
        load(dict(value=Call(getattr, HistoryBuffer, name)), tmp_path / 'a.pth')


@pytest.mark.parametrize('name', ['__init__', 'step', '_annealing_cosine', 'min'])
def test_of_a_one_cycle_schedule_getattr_gives_out_its_two_curves_only(name):
    known = safe_globals()
    schedule = known['mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler']
    assert callable(known['builtins.getattr'](schedule, '_annealing_cos'))
    with pytest.raises(pickle.UnpicklingError, match='getattr'):
        known['builtins.getattr'](schedule, name)


@LOADERS
@pytest.mark.parametrize('function', [eval, exec, open, __import__, setattr, pickle.loads, np.load, torch.load])
def test_dangerous_functions_are_refused(load, function, tmp_path):
    with pytest.raises(REFUSALS, match=function.__name__):
        load(dict(value=Call(function, 'x')), tmp_path / 'a.pth')


@LOADERS
def test_a_class_keeps_its_attributes(load, tmp_path):
    # {'a': HistoryBuffer} with HistoryBuffer.mean = 1, by the opcode that sets the state of an instance
    method = HistoryBuffer.mean
    name = f'{HistoryBuffer.__module__}\nHistoryBuffer\n'.encode()
    pickled = b'\x80\x02}X\x01\x00\x00\x00ac' + name + b'N}X\x04\x00\x00\x00meanK\x01s\x86bs.'
    path = tmp_path / 'a.pth'
    if load is through_torch:
        save_zip_with_pickle(pickled, path)
        with pytest.raises(ValueError, match=r'cannot be read|was refused'):
            load_checkpoint_file(path)
    else:
        with pytest.raises(pickle.UnpicklingError, match='type'):
            unpickled(pickled)
    assert HistoryBuffer.mean is method


def test_nothing_in_the_list_runs_what_it_is_given():
    import builtins

    for value in safe_globals().values():
        assert value not in vars(builtins).values()
        assert getattr(value, '__module__', None) not in ('os', 'posix', 'subprocess', 'importlib')
