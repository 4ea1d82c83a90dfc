"""Batch norm of what may be a single value per channel."""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

__all__ = ['normalized']


def normalized(norm: nn.Module, feature: Tensor) -> Tensor:
    """Normalize a feature of shape ``(N, C, H, W)``.

    A single value per channel, as of the last image of an epoch at a level of 1x1, has no statistics: the batch norm
    then uses its running ones.

    Args:
        norm: A ``BatchNorm2d``, or another layer, which is called as it is.
        feature: The feature.
    """
    if type(norm) is not nn.BatchNorm2d or len(feature) * feature[0, 0].numel() > 1:
        return norm(feature)
    return F.batch_norm(feature, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
