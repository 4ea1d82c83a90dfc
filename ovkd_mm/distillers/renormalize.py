"""Feeding a teacher inputs that were normalised for its student."""

import torch
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn

__all__ = ['Renormalize']


def _statistics(preprocessor: nn.Module) -> tuple[Tensor, Tensor, bool]:
    """Mean, standard deviation and whether channels are swapped, of any toolkit's image preprocessor."""
    mean = getattr(preprocessor, 'mean', None) if getattr(preprocessor, '_enable_normalize', False) else None
    if mean is None:
        mean, std = torch.zeros(1), torch.ones(1)
    else:
        mean, std = preprocessor.mean.flatten().cpu(), preprocessor.std.flatten().cpu()
    # mmengine/mmdet, mmseg and mmpretrain each have a name of their own for it.
    swapped = any(
        getattr(preprocessor, name, False) for name in ('_channel_conversion', 'channel_conversion', 'to_rgb')
    )
    return mean, std, bool(swapped)


class Renormalize(nn.Module):
    """Maps inputs from the student's mean, standard deviation and channel order to the teacher's.

    Args:
        student: The student's data preprocessor.
        teacher: The teacher's data preprocessor.
    """

    def __init__(self, student: ImgDataPreprocessor, teacher: ImgDataPreprocessor) -> None:
        super().__init__()
        student_mean, student_std, student_swapped = _statistics(student)
        teacher_mean, teacher_std, teacher_swapped = _statistics(teacher)
        self.swap = student_swapped != teacher_swapped
        if self.swap:
            student_mean, student_std = student_mean.flip(0), student_std.flip(0)
        # (x * std_s + mean_s - mean_t) / std_t in one multiplication and one addition
        scale = student_std / teacher_std
        shift = (student_mean - teacher_mean) / teacher_std
        self.identity = not self.swap and bool((scale == 1).all()) and bool((shift == 0).all())
        self.register_buffer('scale', scale.view(1, -1, 1, 1))
        self.register_buffer('shift', shift.view(1, -1, 1, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Renormalise a batch of shape ``(N, 3, H, W)``; equal statistics give back the very same tensor."""
        if self.identity:
            return inputs
        if self.swap:
            inputs = inputs.flip(1)
        return inputs * self.scale + self.shift
