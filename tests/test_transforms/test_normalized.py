import pytest
import torch
from torch import nn

from ovkd_mm.transforms import Conv1x1, Translator
from ovkd_mm.transforms.normalized import normalized


@pytest.mark.parametrize('shape', [(1, 3, 1, 2), (2, 3, 1, 1)])
def test_several_values_per_channel_are_normalized_by_themselves(shape):
    norm, feature = nn.BatchNorm2d(3), torch.randn(shape)
    assert torch.equal(normalized(norm, feature), nn.BatchNorm2d(3)(feature))
    assert norm.num_batches_tracked == 1


def test_a_single_value_per_channel_is_normalized_by_the_running_statistics():
    norm, feature = nn.BatchNorm2d(3), torch.randn(1, 3, 1, 1)
    norm.running_mean.fill_(2)
    torch.testing.assert_close(normalized(norm, feature), (feature - 2) / (1 + norm.eps) ** 0.5)
    assert norm.num_batches_tracked == 0


@pytest.mark.parametrize('transform', [Conv1x1, Translator])
def test_a_students_transform_takes_a_single_value_per_channel(transform):
    one = transform(4, 6).train()
    feature = torch.randn(1, 4, 1, 1, requires_grad=True)
    one(feature).sum().backward()
    assert feature.grad.any()
