"""FiniteCheck: tells a broken teacher, which is an error, from a diverging student, which upstream's hooks watch."""

import torch
from torch import Tensor

from ..positions import Place, Span

__all__ = ['FiniteCheck']


class FiniteCheck:
    """Looks at a teacher's features where the distillation loss is NaN or infinite.

    On a GPU whether it is so is asked for in one iteration and read in the next, so that nothing waits for the GPU.
    Until then the features are held.
    """

    def __init__(self) -> None:
        self._pending: tuple[Tensor, torch.cuda.Event | None, list[tuple[Place | Span, tuple[Tensor, ...]]]] | None = (
            None
        )

    @torch.compiler.disable
    def ask(self, loss: Tensor, places: list[Place | Span], features: list[Tensor | tuple[Tensor, ...]]) -> None:
        """Have a loss checked: at once on a CPU, else by the next :meth:`read`.

        Args:
            loss: The sum of all pairs' losses, a scalar.
            places: Where the teacher was read.
            features: What was read there, one tensor a place, two a span.

        Raises:
            ValueError: On a CPU, as :meth:`read`.
        """
        finite, event = torch.isfinite(loss.detach()), None
        if finite.is_cuda:
            finite, event = finite.to('cpu', non_blocking=True), torch.cuda.Event()
            event.record()
        tensors = [one if isinstance(one, tuple) else (one,) for one in features]
        detached = [tuple(tensor.detach() for tensor in one) for one in tensors]
        self._pending = finite, event, list(zip(places, detached, strict=True))
        if event is None:
            self.read()

    @torch.compiler.disable
    def read(self) -> None:
        """Say what came of the last :meth:`ask`.

        Raises:
            ValueError: If the loss was not finite because a teacher feature was not.
        """
        pending, self._pending = self._pending, None
        if pending is None:
            return
        finite, event, features = pending
        if event is not None:
            event.synchronize()  # of the iteration before: no wait, unless the GPU is a whole iteration behind
        if finite:
            return
        for place, tensors in features:
            if not all(torch.isfinite(tensor).all() for tensor in tensors):
                raise ValueError(
                    f"the teacher feature at {place} is NaN or infinite; check teacher.checkpoint, the teacher's input "
                    "normalization and, under fp16, whether bf16 or a norm_mode='running' teacher helps"
                )

    def __deepcopy__(self, memo: dict) -> 'FiniteCheck':
        """A copy of a model (EMA) has asked for nothing."""
        return FiniteCheck()
