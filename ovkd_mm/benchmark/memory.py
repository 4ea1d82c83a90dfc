"""Peak memory on a CPU, for whose allocator torch keeps no statistics."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

__all__ = ['peak_of_tensors']


def peak_of_tensors(thing: Callable[[], object]) -> int:
    """Peak bytes of the tensors that a function makes and holds at once, gradients included.

    What an operation needs for itself while it runs is not seen, nor are tensors that were there before.

    Args:
        thing: What to run.
    """
    with _Watch() as watch:
        thing()
    return watch.peak


class _Watch(TorchDispatchMode):
    """Looks at what each operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}
        self._before: dict[int, StorageWeakRef] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        for place, storage, _ in _storages((args, kwargs)):
            if place not in self._made:
                self._before[place] = storage
        found = func(*args, **(kwargs or {}))
        self._made = {place: one for place, one in self._made.items() if not one[0].expired()}
        for place, storage, size in _storages(found):
            # A place in memory may be taken again by what is new.
            if place not in self._before or self._before[place].expired():
                self._made[place] = storage, size
        self.peak = max(self.peak, sum(size for _, size in self._made.values()))
        return found


def _storages(values: object) -> list[tuple[int, StorageWeakRef, int]]:
    storages = [leaf.untyped_storage() for leaf in tree_flatten(values)[0] if isinstance(leaf, Tensor)]
    return [(storage._cdata, StorageWeakRef(storage), storage.nbytes()) for storage in storages]
