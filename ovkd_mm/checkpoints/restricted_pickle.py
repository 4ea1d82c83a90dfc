"""A pickle module for ``torch.load`` that knows only tensors and what ``safe_globals`` lists.

``weights_only=True`` is not enough: before torch 2.6 no further names can be allowed, and in all versions it calls
functions that can make huge objects out of small files.
"""

import collections
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np
import torch
from torch._weights_only_unpickler import _get_allowed_globals

from .safe_globals import fill_array, safe_globals

_MOST_IN_A_TUPLE = 10_000  # tuples within tuples: to hash more of them may exhaust the stack, or take for ever


def _refuse(what: str) -> NoReturn:
    raise pickle.UnpicklingError(what)


def _name(value: Any) -> str:
    return f'{getattr(value, "__module__", None)}.{getattr(value, "__qualname__", type(value).__qualname__)}'


def _empty_bytes() -> bytes:
    return b''  # which protocol 2 writes as a call without arguments


def _encode(text: Any, encoding: Any) -> bytes:
    """Bytes, as protocol 2 writes them; other encodings can make them longer again and again."""
    if type(text) is not str or encoding != 'latin1':
        _refuse('GLOBAL _codecs.encode')
    return text.encode('latin1')


def _bytearray(*args: Any) -> bytearray:
    if any(type(arg) not in (bytes, list) for arg in args[:1]) or args[1:]:
        _refuse('GLOBAL builtins.bytearray')  # of a number: as many zeros
    return bytearray(*args)


def _set(items: Any = ()) -> set:
    return set(items) if type(items) in (list, tuple) else _refuse('GLOBAL builtins.set')


def _counter(items: Any = None) -> collections.Counter:
    return collections.Counter(items) if type(items) in (dict, type(None)) else _refuse('GLOBAL collections.Counter')


def _ordered_dict(items: Any = ()) -> collections.OrderedDict:
    if type(items) not in (list, tuple):
        _refuse('GLOBAL collections.OrderedDict')
    return collections.OrderedDict(items)


def _rebuild_from_type(function: Any, kind: Any, args: tuple, state: Any) -> Any:
    if function not in _TENSORS or kind not in (torch.Tensor, torch.nn.Parameter):
        _refuse('GLOBAL torch._tensor._rebuild_from_type_v2')
    return torch._tensor._rebuild_from_type_v2(function, kind, args, state)


# What builds tensors out of storages; torch checks that sizes and strides stay inside.
_TENSORS = [
    getattr(torch._utils, name)
    for name in (
        '_rebuild_tensor',
        '_rebuild_tensor_v2',
        '_rebuild_tensor_v3',
        '_rebuild_parameter',
        '_rebuild_parameter_with_state',
        '_rebuild_qtensor',
        '_rebuild_sparse_tensor',
    )
    if hasattr(torch._utils, name)
]

_CALLS = {
    '_codecs.encode': _encode,
    'builtins.bytearray': _bytearray,
    'builtins.bytes': _empty_bytes,
    'builtins.complex': complex,
    'builtins.set': _set,
    'collections.Counter': _counter,
    'collections.OrderedDict': _ordered_dict,
    'torch.Size': torch.Size,
    'torch.device': torch.device,
    'torch.serialization._get_layout': torch.serialization._get_layout,
    'torch._tensor._rebuild_from_type_v2': _rebuild_from_type,
    **{f'torch._utils.{function.__name__}': function for function in _TENSORS},
}
_DTYPES = {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}


if TYPE_CHECKING:

    class _PythonUnpickler(pickle.Unpickler):
        """What the types of the standard library leave out of the unpickler that is written in Python."""

        dispatch: ClassVar[dict[int, Callable[[Any], None]]]
        stack: list[Any]
        metastack: list[list[Any]]

        def load_reduce(self) -> None: ...
        def load_newobj(self) -> None: ...
        def load_build(self) -> None: ...
        def load_binpersid(self) -> None: ...

else:
    _PythonUnpickler = pickle._Unpickler


class Unpickler(_PythonUnpickler):
    """Refuses any other name, any other call, and any change to an object that it has not just made."""

    dispatch = dict(_PythonUnpickler.dispatch)
    largest: int  # bytes that a storage may have: those of the file
    records: dict[str, int] | None  # and in a zip those of its record

    for _code in (pickle.INST, pickle.OBJ, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID, pickle.NEWOBJ_EX):
        del dispatch[_code[0]]

    def __init__(self, file: IO[bytes], **kwargs: Any) -> None:
        super().__init__(file, **kwargs)
        self._inner: dict[int, tuple[tuple, int]] = {}  # tuples that hold tuples, and how many

    def find_class(self, module: str, name: str) -> Any:
        """Look the name up in the lists; nothing is imported."""
        full_name = f'{"builtins" if module == "__builtin__" else module}.{name}'
        for known in (_CALLS, safe_globals(), _DTYPES, _get_allowed_globals()):
            if full_name in known:
                return known[full_name]
        raise pickle.UnpicklingError(f'GLOBAL {full_name}')

    def load_reduce(self) -> None:
        """Call one of the listed functions."""
        function = self.stack[-2]
        known = (*_CALLS.values(), *safe_globals().values())
        if not callable(function) or not any(function is one for one in known):
            _refuse(f'GLOBAL {function if isinstance(function, str) else _name(function)}')
        super().load_reduce()

    def load_newobj(self) -> None:
        """Make an instance of a class that needs a state; all else is called."""
        if not any(self.stack[-2] is known for known in (torch.nn.Parameter, *safe_globals().values())):
            _refuse(f'GLOBAL {_name(self.stack[-2])}')
        super().load_newobj()

    def load_build(self) -> None:
        """Set the state of an instance, never of a class or a function."""
        instance, kind = self.stack[-2], type(self.stack[-2])
        if kind is np.ndarray:
            fill_array(instance, self.stack.pop())
        elif isinstance(instance, np.dtype):
            self.stack.pop()  # numpy's own, which all share
        elif kind in (collections.OrderedDict, torch.Tensor, torch.nn.Parameter, *safe_globals().values()):
            super().load_build()
        else:
            _refuse(f'GLOBAL {kind.__module__}.{kind.__qualname__}')

    def load_binpersid(self) -> None:
        """Take a storage, and no more of it than the file can hold."""
        name = self.stack[-1]
        if type(name) is not tuple or len(name) < 5 or name[0] not in ('storage', b'storage'):
            _refuse('a reference that is not one to a storage')
        numel = name[4]
        if type(numel) is not int or numel < 0:
            _refuse(f'a storage of size {numel!r}')
        dtype = torch.uint8 if name[1] is torch.UntypedStorage else name[1].dtype
        largest = self.largest if self.records is None else self.records.get(f'data/{name[2]}', 0)
        if numel * torch._utils._element_size(dtype) > largest:
            _refuse(f'a storage of {numel} numbers, more than the file can hold')
        super().load_binpersid()

    def _tuple(self, load: Callable[[Any], None]) -> None:
        load(self)
        made = self.stack[-1]
        count = sum(1 + self._inner.get(id(part), ((), 0))[1] for part in made if type(part) is tuple)
        if count > _MOST_IN_A_TUPLE:
            _refuse(f'more than {_MOST_IN_A_TUPLE} tuples within one')
        if count:
            self._inner[id(made)] = made, count

    for _code, _kinds, _depth in (
        (pickle.APPEND, (list,), -2),
        (pickle.SETITEM, (dict, collections.OrderedDict, collections.Counter), -3),
        (pickle.APPENDS, (list,), None),
        (pickle.SETITEMS, (dict, collections.OrderedDict, collections.Counter), None),
        (pickle.ADDITEMS, (set,), None),
    ):

        def _fill(
            self: Any,
            load: Callable[[Any], None] = dispatch[_code[0]],
            kinds: tuple[type, ...] = _kinds,
            depth: int | None = _depth,
        ) -> None:
            target = self.metastack[-1][-1] if depth is None else self.stack[depth]
            if type(target) not in kinds:
                _refuse(f'GLOBAL {type(target).__module__}.{type(target).__qualname__}')
            load(self)

        dispatch[_code[0]] = _fill

    for _code in (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3):

        def _counted(self: Any, load: Callable[[Any], None] = dispatch[_code[0]]) -> None:
            self._tuple(load)

        dispatch[_code[0]] = _counted

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_newobj
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.BINPERSID[0]] = load_binpersid


def limited_to(size: int, records: dict[str, int] | None = None) -> SimpleNamespace:
    """This module for a file of so many bytes and, if it is a zip, for records of these sizes."""
    kind = type('Unpickler', (Unpickler,), dict(largest=size, records=records))
    return SimpleNamespace(__name__=__name__, Unpickler=kind, load=lambda file, **kwargs: kind(file, **kwargs).load())


__all__ = ['Unpickler', 'limited_to']
