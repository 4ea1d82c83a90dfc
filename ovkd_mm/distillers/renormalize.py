"""Renormalize: feeds a teacher inputs that were normalized for its student."""

import torch
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn

from ..toolkits import image_preprocessor
from .channel_order import ORDERS, ChannelOrder, seen_order

__all__ = ['Renormalize', 'check_channels', 'normalizes']


def normalizes(preprocessor: nn.Module) -> bool:
    """Whether a preprocessor subtracts a mean."""
    preprocessor = image_preprocessor(preprocessor)
    return getattr(preprocessor, '_enable_normalize', False) and getattr(preprocessor, 'mean', None) is not None


def _statistics(preprocessor: ImgDataPreprocessor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of any toolkit's image preprocessor."""
    if not normalizes(preprocessor):
        return torch.zeros(1), torch.ones(1)
    preprocessor = image_preprocessor(preprocessor)
    return preprocessor.mean.flatten().cpu(), preprocessor.std.flatten().cpu()


def check_channels(student: int, teacher: int) -> None:
    """Compare how many channels the images of the two have.

    Args:
        student: Of the student's images. One, of a gray image, is repeated for a teacher of several.
        teacher: Of the teacher's.

    Raises:
        ValueError: If the teacher cannot be run on the student's images.
    """
    if student not in (1, teacher):
        raise ValueError(
            f"the student's images have {student} channels and the teacher's {teacher}: set teacher.model to one that "
            f'takes images of {student}, or train a student on images of {teacher}'
        )


def _reversed(channels: Tensor, dim: int) -> Tensor:
    """Red, green and blue the other way round; what comes after them (depth, infrared) stays where it is."""
    if channels.shape[dim] <= 3:
        return channels.flip(dim)
    colors, others = channels.tensor_split([3], dim)
    return torch.cat((colors.flip(dim), others), dim)


class Renormalize(nn.Module):
    """Maps inputs from the student's mean, standard deviation and channel order to the teacher's.

    Args:
        student: The student's data preprocessor.
        teacher: The teacher's data preprocessor.
        student_order: Order of the channels that the student sees; None means what its preprocessor implies.
        teacher_order: Order of the channels that the teacher sees, likewise. Where neither is known, both are taken to
            see the same.

    Raises:
        ValueError: If an order is invalid, only one of the two is known, or the numbers of channels do not fit.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        student: ImgDataPreprocessor,
        teacher: ImgDataPreprocessor,
        student_order: ChannelOrder | None = None,
        teacher_order: ChannelOrder | None = None,
    ) -> None:
        super().__init__()
        student_mean, student_std = _statistics(student)
        teacher_mean, teacher_std = _statistics(teacher)
        if len(student_mean) > 1 and len(teacher_mean) > 1:  # one may be that of all channels
            check_channels(len(student_mean), len(teacher_mean))
        keys = ('channel_order', 'teacher.channel_order')
        for key, order in zip(keys, (student_order, teacher_order), strict=True):
            if order not in (None, *ORDERS):
                raise ValueError(f"{key} must be 'rgb' or 'bgr', got {order!r}")
        orders = (student_order or seen_order(student), teacher_order or seen_order(teacher))
        if (orders[0] is None) != (orders[1] is None):
            index = orders.index(None)
            raise ValueError(
                f'{keys[index]} is not set and cannot be known: the data preprocessor of the '
                f'{("student", "teacher")[index]} reverses no channels, and images may come as BGR (files) or as RGB '
                f"(CIFAR's archive). Set model.{keys[index]} to 'rgb' or 'bgr', what the model was trained with; the "
                f'other one sees {orders[1 - index]!r}'
            )
        self.swap = orders[0] != orders[1]
        if self.swap:
            student_mean, student_std = _reversed(student_mean, 0), _reversed(student_std, 0)
        # (x * std_s + mean_s - mean_t) / std_t in one multiplication and one addition
        scale = student_std / teacher_std
        shift = (student_mean - teacher_mean) / teacher_std
        self.identity = not self.swap and bool((scale == 1).all()) and bool((shift == 0).all())
        self.register_buffer('scale', scale.view(1, -1, 1, 1))
        self.register_buffer('shift', shift.view(1, -1, 1, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Renormalize a batch of shape ``(N, 3, H, W)``; equal statistics give back the very same tensor."""
        if self.identity:
            return inputs
        if self.swap:
            inputs = _reversed(inputs, 1)
        return inputs * self.scale + self.shift
