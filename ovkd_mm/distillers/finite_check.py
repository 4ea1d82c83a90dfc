"""FiniteCheck: tells a broken teacher, which is an error, from a diverging student, which upstream's hooks watch."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..positions import Feature, Place, Span, ends_of

__all__ = ['FiniteCheck']

_Pending = tuple[Tensor, torch.cuda.Event | None, Sequence[Place | Span], Callable[[], Sequence[Feature]]]


class FiniteCheck:
    """Looks at a teacher's features where the distillation loss is NaN or infinite.

    On a GPU the check starts in one iteration and its result is read in the next, so that nothing waits for the GPU. If
    it fails, the features are computed again: keeping them would take memory throughout the student's backward pass.
    """

    def __init__(self) -> None:
        self._pending: _Pending | None = None

    @torch.compiler.disable
    def ask(self, loss: Tensor, places: Sequence[Place | Span], again: Callable[[], Sequence[Feature]]) -> None:
        """Have a loss checked: at once on a CPU, else by the next :meth:`read`.

        Args:
            loss: The sum of all pairs' losses, a scalar.
            places: Where the teacher was read.
            again: Reads these places again, one tensor per place, two per span.

        Raises:
            ValueError: On a CPU, as :meth:`read`.
        """
        finite, event = torch.isfinite(loss.detach()), None
        if finite.is_cuda:
            finite, event = finite.to('cpu', non_blocking=True), torch.cuda.Event()
            event.record(torch.cuda.current_stream(loss.device))
        self._pending = finite, event, places, again
        if event is None:
            self.read()

    @torch.compiler.disable
    def read(self) -> None:
        """Report the result of the last :meth:`ask`.

        Raises:
            ValueError: If the loss was not finite because a teacher feature was not.
        """
        pending, self._pending = self._pending, None
        if pending is None:
            return
        finite, event, places, again = pending
        if event is not None:
            event.synchronize()  # of the iteration before: no wait, unless the GPU is a whole iteration behind
        if finite:
            return
        for place, feature in zip(places, again(), strict=True):
            if not all(torch.isfinite(tensor).all() for tensor in ends_of(feature)):
                raise ValueError(
                    f"the teacher feature at {place} is NaN or infinite; check teacher.checkpoint, the teacher's input "
                    "normalization and, under fp16, whether bf16 or a norm_mode='running' teacher helps"
                )

    def __deepcopy__(self, memo: dict) -> 'FiniteCheck':
        """A copy of a model (EMA) has no check pending."""
        return FiniteCheck()
