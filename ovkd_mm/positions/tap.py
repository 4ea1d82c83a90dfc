"""Reading a tensor in the middle of a forward without touching the model."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.hooks import RemovableHandle

from .place import Place, Span

__all__ = ['SpanTap', 'Tap', 'reading', 'tap_at']


class Tap:
    """Reads one place. It listens only between :meth:`arm` and :meth:`disarm`, so a replay in backward is not read.

    Where a later operation writes into the tensor, the model continues with a clone and the tap keeps the original.

    Args:
        place: What to read.
        then: Called right after it was read.
    """

    def __init__(self, place: Place, then: Callable[[], None] | None = None) -> None:
        self.place = place
        self._then = then
        self.feature: Tensor | None = None
        self._module: nn.Module | None = None
        self._handle: RemovableHandle | None = None
        self._armed = False
        self._calls = 0

    def arm(self, model: nn.Module) -> None:
        """Listen to the next forward of ``model``."""
        module = model.get_submodule(self.place.path)
        # Conversions such as SyncBN -> BN replace modules after the model was built; the hook moves along.
        if module is not self._module:
            if self._handle is not None:
                self._handle.remove()
            self._module = module
            if self.place.side == 'input':
                self._handle = module.register_forward_pre_hook(self._before_call, with_kwargs=True)
            else:
                self._handle = module.register_forward_hook(self._after_call)
        self.feature, self._calls, self._armed = None, 0, True

    def take(self, input_size: Sequence[int] | None = None) -> Tensor:
        """What was read since :meth:`arm`, as ``(N, C, H, W)``.

        Args:
            input_size: ``(H, W)`` of the forward's inputs, which tokens need; by default that of the trace.

        Raises:
            RuntimeError: If the forward did not pass the place.
            ValueError: If it is one of tokens, and their number does not fit the inputs.
        """
        if self.feature is None:
            raise RuntimeError(
                f'the forward never passed the tap at {self.place}; '
                "it takes another path in training than with mode='tensor'"
            )
        return self.place.layout.to_nchw(self.feature, input_size)

    def disarm(self) -> None:
        """Stop listening and let go of what was read."""
        self.feature, self._armed = None, False

    def _before_call(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        return self._read((args, kwargs), 'took', [*args, *kwargs.values()])  # not what lies in lists, as in a trace

    def _after_call(self, module: nn.Module, args: tuple, output: Any) -> Any:
        return self._read(output, 'returned', tree_flatten(output)[0])

    def _read(self, given: Any, did: str, counted: Sequence) -> Any:
        if not self._armed:
            return None
        self._calls += 1
        if self._calls != self.place.call + 1:
            return None
        tensors = [one for one in counted if isinstance(one, Tensor)]
        if (self.place.item or 0) >= len(tensors):
            found = f'{len(tensors)} tensor' + 's' * (len(tensors) != 1)
            raise RuntimeError(
                f'there is nothing to read at {self.place}: {self.place.path!r} {did} {found}, and more when the '
                'model was built; does another model share a list with it, such as out_indices?'
            )
        feature = tensors[self.place.item or 0]
        self.feature = feature
        if self._then:
            self._then()
        if not self.place.overwritten:
            return None
        parts, structure = tree_flatten(given)
        other = feature.clone()
        return tree_unflatten([other if part is feature else part for part in parts], structure)


class SpanTap:
    """Reads two places: a :class:`Tap` whose feature is a pair.

    Args:
        span: What to read.
        then: Called right after either was read.
    """

    def __init__(self, span: Span, then: Callable[[], None] | None = None) -> None:
        self._taps = Tap(span.first, then), Tap(span.last, then)

    @property
    def feature(self) -> tuple[Tensor, Tensor] | None:
        """Both, once both were read."""
        first, last = (one.feature for one in self._taps)
        return None if first is None or last is None else (first, last)

    def arm(self, model: nn.Module) -> None:
        """Listen to the next forward of ``model``."""
        for one in self._taps:
            one.arm(model)

    def take(self, input_size: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """What was read since :meth:`arm`; see :meth:`Tap.take`."""
        first, last = self._taps
        return first.take(input_size), last.take(input_size)

    def disarm(self) -> None:
        """Stop listening and let go of what was read."""
        for one in self._taps:
            one.disarm()


def tap_at(place: Place | Span, then: Callable[[], None] | None = None) -> Tap | SpanTap:
    """The tap that reads a place or a span."""
    return SpanTap(place, then) if isinstance(place, Span) else Tap(place, then)


@contextmanager
def reading(model: nn.Module, taps: list[Tap | SpanTap]) -> Iterator[None]:
    """Let ``taps`` listen to the forward of ``model`` that runs inside the block; ``take`` before it ends."""
    for one in taps:
        one.arm(model)
    try:
        yield
    finally:
        for one in taps:
            one.disarm()
