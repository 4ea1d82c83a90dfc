"""What every position answers."""

from abc import ABC, abstractmethod

from .place import Place, Span
from .trace import Trace

__all__ = ['Position']


class Position(ABC):
    """Where a feature is read: the first of a method's four parts.

    Args:
        path: Path of a module in the model, such as ``'backbone.layer1'``.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @abstractmethod
    def resolve(self, trace: Trace) -> Place | Span:
        """Find the place in a traced model.

        Raises:
            ValueError: If the path names no module that the forward calls.
        """
