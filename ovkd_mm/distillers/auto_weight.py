"""AutoWeight: a loss weight that is measured."""

import logging
import math
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ..number import number
from .settings import check_settings

__all__ = ['AutoWeight', 'auto_weight']

# Of 1 and 3, the better one in our small trainings (docs/results.md, "What the measured weight comes to").
SHARE = 3.0

AT_FIRST = 20  # measurements in a row before they are spaced
SPACING = 10  # iterations between two of them
HORIZON = 10  # measurements that the mean reaches back over
SETTLED = 500  # iterations after which the weight is fixed
CHECK = 1000  # iterations between two checks of a fixed weight
SANE = 10.0  # factor by which the ratio may be off before a check warns


def auto_weight(key: str, setting: Any) -> 'AutoWeight | None':
    """The measured weight that a config's loss weight asks for; None if it is a number.

    Args:
        key: What to call the setting.
        setting: A number, ``'auto'`` or ``dict(share=...)``.

    Raises:
        ValueError: If it is something else, or the share is not a positive number.
    """
    if setting == 'auto':
        return AutoWeight()
    if isinstance(setting, dict):
        check_settings(key, setting, ['share'])
        return AutoWeight(number(f'{key}.share', setting.get('share', SHARE), above=True))
    if not isinstance(setting, (int, float)) or isinstance(setting, bool):
        raise ValueError(f"{key} must be a number, 'auto' or dict(share=...); got {setting!r}")
    return None


class AutoWeight(nn.Module):
    """Weight of the losses of some pairs, such that their gradient is a set multiple of the task's.

    The norms of the gradients are compared over the student's parameters that both reach, whenever :meth:`due` holds.
    The weight follows the last measurements (the mean of their logarithms) for the first 500 iterations in which the
    student learns, since the ratio falls by an order or two while connectors and student are new. Then it is fixed.
    Its state is in the checkpoint, and the same on all ranks. It is never compiled, since each new weight would trigger
    a recompilation.

    Args:
        share: Norm of the distillation's gradient as a multiple of the task's.
    """

    state: Tensor

    def __init__(self, share: float = SHARE) -> None:
        super().__init__()
        self.share = share
        # Mean log ratio at weight 1; numbers of measurements, of iterations, and of those in which the student learns.
        self.register_buffer('state', torch.zeros(4))
        self._values: list[float] | None = None

    @property
    @torch.compiler.disable
    def factor(self) -> float:
        """The weight; 1 before the first measurement."""
        return self.share / math.exp(self._read()[0]) if self.known else 1.0

    @property
    def known(self) -> bool:
        """Whether anything has been measured."""
        return self._read()[1] > 0

    @property
    @torch.compiler.disable
    def settled(self) -> bool:
        """Whether the weight is fixed by now."""
        _, measured, _, learning = self._read()
        return learning >= SETTLED and measured >= AT_FIRST

    @torch.compiler.disable
    def due(self) -> bool:
        """Whether this iteration is to be measured; after the weight has settled, to see whether it still fits."""
        _, measured, seen, _ = self._read()
        if self.settled:
            return seen % CHECK == 0
        return measured == 0 or (measured < AT_FIRST and seen < SETTLED) or seen % SPACING == 0

    @torch.compiler.disable
    def restart(self) -> None:
        """Forget what was measured, in another training."""
        if self.known:
            print_log(f"loss_weight='auto' was {self.factor:.4g} in what was loaded; it is measured anew", 'current')
        self._write([0.0] * 4)

    @torch.compiler.disable
    def step(self, student_learns: bool) -> None:
        """Count an iteration.

        Args:
            student_learns: False while the connectors learn alone.
        """
        *measurements, seen, learning = self._read()
        self._write([*measurements, seen + 1, learning + student_learns])
        if student_learns and learning + 1 == SETTLED and not self.settled:
            print_log(
                f"loss_weight='auto' could be measured in {measurements[1]:.0f} of {seen + 1:.0f} iterations: in the "
                'others the gradient of the task or of these losses was 0 or not finite. Measuring goes on',
                logger='current',
                level=logging.WARNING,
            )

    @torch.compiler.disable
    def note(self, ratio: float) -> None:
        """Take in a measurement.

        Args:
            ratio: Norm of the gradient at weight 1 as a multiple of the task's; of no use, and left out, if it is 0 or
                not finite.
        """
        if not 0 < ratio < math.inf:
            return
        if self.settled:
            self._warn_if_far_off(ratio * self.factor)
            return
        log_ratio, measured, *counts = self._read()
        part = 1 / min(measured + 1, HORIZON)
        self._write([log_ratio + part * (math.log(ratio) - log_ratio), measured + 1, *counts])
        if measured == 0:
            print_log(
                f"loss_weight='auto' is {self.factor:.4g} by the first measurement, and others follow: where the four "
                'decimals of distill_auto_weight say too little, vis_data/scalars.json has it in full',
                logger='current',
            )

    def _write(self, values: list[float]) -> None:
        was_settled = self.settled
        written = torch.tensor(values, dtype=torch.float32)  # Apple's GPUs have no float64
        self.state.copy_(written, non_blocking=True)
        self._values = written.tolist()  # as a checkpoint will have them
        if self.settled and not was_settled:
            print_log(
                f"loss_weight='auto' is {self.factor:.4g} from here on: the gradient of these losses was "
                f"{self.share:g} times the task's with it, measured {values[1]:.0f} times in {values[2]:.0f} "
                'iterations',
                logger='current',
            )

    def _warn_if_far_off(self, ratio: float) -> None:
        if not self.share / SANE < ratio < self.share * SANE:
            print_log(
                f"with loss_weight='auto', which is {self.factor:.4g}, the gradient of these losses is now "
                f"{ratio:.3g} times the task's, not {self.share:g} times; to change that, set "
                'loss_weight=dict(share=...) or a number',
                logger='current',
                level=logging.WARNING,
            )

    def _read(self) -> list[float]:
        if self._values is None:
            self._values = self.state.tolist()
        return self._values

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._values = None
