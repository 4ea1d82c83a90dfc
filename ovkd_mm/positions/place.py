"""A place: the one tensor of a forward pass that a tap reads."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from .layout import NCHW, Layout

__all__ = ['Feature', 'Place', 'Span', 'ends_of']

Feature = Tensor | tuple[Tensor, Tensor]  # of a place, or of the two ends of a span


def ends_of(feature: Feature) -> tuple[Tensor, ...]:
    """The one tensor of a place, or the two of a span."""
    return feature if isinstance(feature, tuple) else (feature,)


@dataclass(frozen=True)
class Place:
    """Where a feature is read.

    Attributes:
        name: The module path as the user wrote it, for messages.
        path: Path of the module whose call is tapped.
        call: Which call of that module within one forward, from 0 (mmdet's ResNet blocks call one ReLU three times).
        side: Whether the call's first input or its output is read.
        shape: ``(C, H, W)`` at the traced input size, whatever the layout.
        norm: Path of the batch norm that feeds the place, if there is one.
        overwritten: Whether a later operation writes into the tensor (an in-place ReLU, ``out += identity``).
        item: Which of the tensors that the call returns, where it returns several.
        layout: How the tensor lies in memory; a tap reads it as ``(N, C, H, W)``.
        activated: Whether an activation follows, where the position looked for one.
    """

    name: str
    path: str
    call: int
    side: Literal['input', 'output']
    shape: tuple[int, ...]
    norm: str | None
    overwritten: bool
    item: int | None = None
    layout: Layout = NCHW
    activated: bool | None = None

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[0]

    @property
    def size(self) -> tuple[int, ...]:
        """Spatial size ``(H, W)``."""
        return self.shape[1:]

    @property
    def ends(self) -> tuple['Place', ...]:
        """The place itself, as a span has two."""
        return (self,)

    def __str__(self) -> str:
        side = self.side if self.item is None else f'{self.side} {self.item}'
        layout = '' if self.layout == NCHW else f', {self.layout}'
        return f'{self.name} {"x".join(map(str, self.shape))} ({side} of {self.path}, call {self.call}{layout})'


@dataclass(frozen=True)
class Span:
    """Two places that are read together; what a tap takes there is a pair of tensors.

    Attributes:
        first: The earlier one.
        last: The later one.
    """

    first: Place
    last: Place

    @property
    def name(self) -> str:
        """The module path as the user wrote it."""
        return self.last.name

    @property
    def channels(self) -> tuple[int, int]:
        """Numbers of channels of both."""
        return self.first.channels, self.last.channels

    @property
    def size(self) -> tuple[int, ...]:
        """Spatial size of the later one."""
        return self.last.size

    @property
    def ends(self) -> tuple[Place, ...]:
        """Both."""
        return self.first, self.last

    @property
    def norm(self) -> None:
        """No batch norm feeds both."""

    def __str__(self) -> str:
        return f'{self.first} to {self.last}'
