"""Teacher transform for features that no activation follows: whitening."""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from ..functional import full_precision
from ..registry import MODELS
from .base import Transform

__all__ = ['Whitening']


@MODELS.register_module()
class Whitening(Transform):
    """Mean 0 and variance 1 over the channels of each position (Wei et al. 2022, arXiv:2205.14141, section 3).

    That is a layer norm without parameters. Sums of residual blocks, as in transformers, differ in size by orders of
    magnitude from network to network and from channel to channel.
    """

    def forward(self, feature: Tensor) -> Tensor:
        """Transform a feature.

        Args:
            feature: Shape ``(N, C, H, W)``.

        Returns:
            Tensor of the same shape.
        """
        return F.layer_norm(full_precision(feature).movedim(1, -1), feature.shape[1:2]).movedim(-1, 1)
