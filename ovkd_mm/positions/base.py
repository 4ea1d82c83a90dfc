"""The contract of positions, the first part of a method."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from .place import Place, Span
from .trace import Trace

__all__ = ['Position']


class Position(ABC):
    """Where a feature is read: the first of a method's four parts.

    Args:
        path: Path of a module in the model, such as ``'backbone.layer1'``.

    Attributes:
        listed_in: The list of the distiller's config that names the places of such a method.
        reads_span: Whether it reads two tensors, for which no place of another position can stand.
    """

    listed_in: ClassVar[Literal['pairs', 'logits']] = 'pairs'
    reads_span: ClassVar[bool] = False

    def __init__(self, path: str) -> None:
        self.path = path

    @abstractmethod
    def resolve(self, trace: Trace) -> Place | Span:
        """Find the place in a traced model.

        Raises:
            ValueError: If the path names no module that the forward calls.
        """
