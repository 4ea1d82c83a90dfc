"""Transform of Jacobian matching: the gradient with respect to the image."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from ..functional import full_precision
from ..registry import MODELS
from .base import Transform

__all__ = ['InputGradient']


@MODELS.register_module()
class InputGradient(Transform):
    r"""Gradient of the most attended position with respect to the image, scaled to unit length.

    Attention is :math:`\sum_c |F_c|`; in each image the position where it is highest is used (Srinivas & Fleuret, ICML
    2018, https://arxiv.org/abs/1803.00443, on transfer learning with attention maps).

    Args:
        differentiable: Keep the graph, for a student, which learns through this gradient: its backward pass is
            differentiated once more. That rules out re-entrant activation checkpointing (``with_cp`` of the toolkits),
            and the distiller leaves its training forward out of ``torch.compile``.
    """

    takes_inputs = True

    def __init__(self, differentiable: bool = False) -> None:
        super().__init__()
        self.differentiable = differentiable

    def forward(self, feature: Tensor, inputs: Tensor) -> Tensor:
        """Differentiate.

        Args:
            feature: Feature of shape ``(N, C, h, w)`` with a graph back to the images.
            inputs: The images, shape ``(N, 3, H, W)``.

        Returns:
            Gradients of unit length, shape ``(N, 3, H, W)``; zeros for a feature of zeros.

        Raises:
            ValueError: If the feature has no graph.
        """
        if not feature.requires_grad:
            raise ValueError('InputGradient differentiates by the images, so call the model without torch.no_grad')
        attention = full_precision(feature).abs().sum(1).flatten(1)  # (N, h * w)
        most = attention.gather(1, attention.argmax(1, keepdim=True))
        (gradient,) = torch.autograd.grad(most.sum(), inputs, retain_graph=True, create_graph=self.differentiable)
        return F.normalize(full_precision(gradient).flatten(1), dim=1).view_as(gradient)
