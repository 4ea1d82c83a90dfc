"""The contract of transforms, the second and third part of a method."""

from typing import ClassVar

from torch import nn

__all__ = ['Transform']


class Transform(nn.Module):
    """What is made of a feature before it is compared: the teacher's and the student's part of a method.

    A class names in its signature what it wants to be handed of what is known of the pair:

    - as a student's, ``in_channels`` and ``out_channels``, the channels of the student's feature and of the teacher's;
    - as a teacher's, ``channels`` of its feature and ``norm``, the batch norm that feeds it, or ``None``.

    Of a place that is a span, such as :class:`ovkd_mm.positions.GroupEnds`', channels are a pair of numbers.
    ``forward`` takes the feature ``(N, C, H, W)``, of a span a pair of them, and returns a tensor. A student's
    transform learns with the student; a teacher's learns only if a hook trains it.

    Attributes:
        takes_inputs: Whether ``forward`` takes the images beside the feature, and the graph that leads back to them.
            The student's backward pass is then differentiated once more.
        takes_span: Whether ``forward`` takes two features, of a place that is a span, and none of one place.
    """

    takes_inputs: ClassVar[bool] = False
    takes_span: ClassVar[bool] = False

    def restart(self) -> None:
        """Forget what was learned of a teacher without a gradient, where another training's checkpoint was loaded."""
