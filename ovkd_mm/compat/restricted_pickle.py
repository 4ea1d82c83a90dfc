"""A pickle module for ``torch.load`` that knows only tensors and what ``safe_globals`` lists.

For torch before 2.6, whose ``weights_only=True`` cannot be told of further names.
"""

import collections
import pickle
from _codecs import encode
from typing import IO, Any

import torch
from torch._weights_only_unpickler import _get_allowed_globals

from .safe_globals import safe_globals

# In torch's own list since 2.4 or later.
_LATER = {
    '_codecs.encode': encode,
    'builtins.bytearray': bytearray,
    'builtins.complex': complex,
    'builtins.set': set,
    'collections.Counter': collections.Counter,
    'torch.device': torch.device,
    **{str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)},
}


class Unpickler(pickle._Unpickler):
    """Refuses every other name, and to set attributes on anything but instances that need it."""

    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        """Look the name up in the lists; nothing is imported."""
        full_name = f'{"builtins" if module == "__builtin__" else module}.{name}'
        for known in (_get_allowed_globals(), _LATER, safe_globals()):
            if full_name in known:
                return known[full_name]
        raise pickle.UnpicklingError(f'GLOBAL {full_name}')

    def load_build(self) -> None:
        """Set the state of an instance, never of a class or a function."""
        kind = type(self.stack[-2])
        if kind not in (collections.OrderedDict, torch.Tensor, torch.nn.Parameter, *safe_globals().values()):
            raise pickle.UnpicklingError(f'GLOBAL {kind.__module__}.{kind.__qualname__}')
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def load(file: IO[bytes], **kwargs: Any) -> Any:
    """Like ``pickle.load``."""
    return Unpickler(file, **kwargs).load()


__all__ = ['Unpickler', 'load']
