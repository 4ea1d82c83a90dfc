"""MobileNetV1: the student of the paper's detection and ImageNet experiments."""

from collections.abc import Sequence

import torch.utils.checkpoint as cp
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..registry import MODELS
from .kaiming import KAIMING

__all__ = ['MobileNetV1']


@MODELS.register_module()
class MobileNetV1(BaseModule):
    """MobileNet backbone (Howard et al. 2017, https://arxiv.org/abs/1704.04861, table 1), 3.2 M parameters.

    The stages are ``layer1`` to ``layer5``, one for each spatial size. Each ends in a ReLU, so a stage is a place where
    a feature can be read.

    ======= ======= ======== =========================== ==================
    stage   stride  channels convolutions                size at 224 (300)
    ======= ======= ======== =========================== ==================
    layer1  2       64       3x3, then 1 separable       112 (150)
    layer2  4       128      2 separable                 56 (75)
    layer3  8       256      2 separable                 28 (38)
    layer4  16      512      6 separable                 14 (19)
    layer5  32      1024     2 separable                 7 (10)
    ======= ======= ======== =========================== ==================

    Weights of timm's ``mobilenetv1_100`` fit, too: ``init_cfg=dict(type='Pretrained',
    checkpoint='timm://mobilenetv1_100.ra4_e3600_r224_in1k')``. They were trained with ReLU6 and with inputs between -1
    and 1 (mean and deviation 127.5).

    Args:
        out_indices: The stages to return, 0 for ``layer1`` to 4 for ``layer5``.
        frozen_stages: The first stages whose weights and statistics stay as they are; -1 or 0 for none.
        norm_eval: Whether all batch norms keep their running statistics in training, too.
        with_cp: Whether to keep no activations inside a separable convolution and compute them again in backward. The
            running statistics then take in each batch twice, as in the toolkits' backbones.
        init_cfg: As in every mmengine module; Kaiming's initialization where it is None.

    Raises:
        ValueError: If a stage in ``out_indices`` or ``frozen_stages`` does not exist.
    """

    # One tuple a stage: the channels that come out and the number of separable convolutions.
    arch_settings = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))

    def __init__(
        self,
        out_indices: Sequence[int] = (4,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        num_stages = len(self.arch_settings)
        if not isinstance(out_indices, Sequence) or not out_indices or not set(out_indices) <= set(range(num_stages)):
            raise ValueError(f'out_indices must be a list of stages 0 to {num_stages - 1}, but it is {out_indices}')
        if frozen_stages not in range(-1, num_stages + 1):
            raise ValueError(f'frozen_stages must lie between -1 and {num_stages}, but it is {frozen_stages}')
        super().__init__(KAIMING if init_cfg is None else init_cfg)
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval

        stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True))
        in_channels = 32
        for stage, (channels, depth) in enumerate(self.arch_settings, start=1):
            layers = [stem] if stage == 1 else []
            for block in range(depth):
                stride = 2 if block == 0 and stage > 1 else 1
                layers.append(_SeparableConv(in_channels, channels, stride, with_cp))
                in_channels = channels
            self.add_module(f'layer{stage}', nn.Sequential(*layers))
        self._freeze_stages()
        self._register_load_state_dict_pre_hook(_rename_timms, with_module=True)  # public after torch 2.1

    @property
    def _stages(self) -> list[nn.Sequential]:
        return [getattr(self, f'layer{stage}') for stage in range(1, len(self.arch_settings) + 1)]

    def _freeze_stages(self) -> None:
        for stage in self._stages[: max(self.frozen_stages, 0)]:
            stage.eval()
            stage.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Features of an image batch.

        Args:
            x: Images of shape ``(N, 3, H, W)``.

        Returns:
            The outputs of the stages in ``out_indices``, from the finest to the coarsest.
        """
        outs = []
        for index, stage in enumerate(self._stages):
            x = stage(x)
            if index in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> 'MobileNetV1':
        """Set the mode, but leave frozen stages, and with ``norm_eval`` all batch norms, in evaluation mode."""
        super().train(mode)
        self._freeze_stages()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


class _SeparableConv(nn.Sequential):
    """A 3x3 depthwise and a 1x1 convolution, each with its own batch norm and ReLU (figure 3 of the paper)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, with_cp: bool) -> None:
        super().__init__(
            nn.Conv2d(in_channels, in_channels, 3, stride, 1, groups=in_channels, bias=False),
            nn.BatchNorm2d(in_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )
        self.recomputes = with_cp  # the toolkits' with_cp is re-entrant, and refused by this name where that matters

    def forward(self, x: Tensor) -> Tensor:
        if self.recomputes and x.requires_grad:
            # Not re-entrant, so that what is read inside the block in the forward pass has a gradient.
            return cp.checkpoint(super().forward, x, use_reentrant=False)
        return super().forward(x)


def _rename_timms(model: MobileNetV1, state_dict: dict, prefix: str, *_: object) -> None:
    """Give timm's weights the names that ours have."""
    if f'{prefix}conv_stem.weight' not in state_dict:
        return
    names = {'conv_stem': 'layer1.0.0', 'bn1': 'layer1.0.1'}
    for stage, (_channels, depth) in enumerate(model.arch_settings):
        for block in range(depth):
            ours = f'layer{stage + 1}.{block + (stage == 0)}'  # the stem comes first
            parts = dict(conv_dw=0, bn1=1, conv_pw=3, bn2=4)
            names |= {f'blocks.{stage}.{block}.{part}': f'{ours}.{index}' for part, index in parts.items()}
    for key in [key for key in state_dict if key.startswith(prefix)]:
        module, _, kind = key.removeprefix(prefix).rpartition('.')
        if module in names:
            state_dict[f'{prefix}{names[module]}.{kind}'] = state_dict.pop(key)
