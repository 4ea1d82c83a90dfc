"""CifarResNet: the thin residual network of the paper's CIFAR-100 experiments."""

from typing import Any

from mmpretrain.models.backbones import ResNet_CIFAR
from mmpretrain.models.backbones.resnet import BasicBlock

__all__ = ['CifarResNet']


class CifarResNet(ResNet_CIFAR):
    """ResNet for CIFAR with three groups of 16, 32 and 64 channels (He et al. 2016, https://arxiv.org/abs/1512.03385).

    Section 4.2 of its paper, at the depths of its table 6. mmpretrain's ``ResNet_CIFAR``, of which it is made, has
    ImageNet's depths only. Shortcuts that change the size are 1x1 convolutions with a batch norm, as in mmpretrain and
    in the OFD authors' code. Each group ends in a ReLU, before which its feature is read.

    Args:
        depth: 20, 32, 44, 56 or 110.
        **kwargs: As mmpretrain's ``ResNet_CIFAR`` has them: ``frozen_stages``, ``norm_eval``, ``with_cp`` and so on.

    Raises:
        ValueError: If the paper has no such depth.
    """

    arch_settings = {6 * blocks + 2: (BasicBlock, (blocks,) * 3) for blocks in (3, 5, 7, 9, 18)}

    def __init__(self, depth: int, **kwargs: Any) -> None:
        if depth not in self.arch_settings:
            raise ValueError(f'depth must be one of {", ".join(map(str, self.arch_settings))}, but it is {depth}')
        groups = dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,))
        # Blocks start as the paper's do, not as identities.
        super().__init__(depth, stem_channels=16, base_channels=16, zero_init_residual=False, **{**groups, **kwargs})
