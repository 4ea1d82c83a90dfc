"""The contract of transforms, the second and third part of a method."""

from typing import ClassVar

from torch import nn

__all__ = ['Transform']


class Transform(nn.Module):
    """How a feature is transformed before it is compared: the teacher's and the student's part of a method.

    A class asks for what it needs to know about the pair by the names of its constructor's arguments:

    - as a student's, ``in_channels`` and ``out_channels``, the channels of the student's feature and of the teacher's;
    - as a teacher's, ``channels`` of its feature and ``norm``, the batch norm that feeds it, or ``None``.

    For a place that is a span, such as :class:`ovkd_mm.positions.GroupEnds`', channels are a pair of numbers.
    ``forward`` takes the feature ``(N, C, H, W)``, or a pair of them for a span, and returns a tensor. A student's
    transform learns with the student; a teacher's learns only if a hook trains it.

    Attributes:
        takes_inputs: Whether ``forward`` takes the images beside the feature, and the graph that leads back to them.
            The student's backward pass is then differentiated once more.
        takes_span: Whether ``forward`` takes the two features of a span, and not the feature of a single place.
    """

    takes_inputs: ClassVar[bool] = False
    takes_span: ClassVar[bool] = False

    def restart(self) -> None:
        """Reset what was gathered from the teacher's features; called when a training starts, not when it resumes."""
