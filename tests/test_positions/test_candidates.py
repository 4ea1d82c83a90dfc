from mmdet.models.necks import FPN
from mmpretrain.models.backbones import MobileNetV2, ResNet, SwinTransformer
from torch import nn

from ovkd_mm.positions import candidates, trace


class Model(nn.Module):
    def __init__(self, backbone, neck=None):
        super().__init__()
        self.backbone, self.neck = backbone, neck

    def forward(self, x):
        x = self.backbone(x)
        return self.neck(x) if self.neck else x


def of(model, size=64):
    return candidates(trace(model, (size, size)))


def test_a_backbones_stages_and_their_blocks_are_named_as_they_end():
    ends = [f'backbone.layer{i}{part}' for i in (1, 2, 3, 4) for part in ('.0', '.1', '')]
    assert of(Model(ResNet(18))) == ['backbone.conv1', *ends]


def test_stages_in_a_list_and_rows_of_tokens_count_and_vectors_do_not():
    found = of(Model(SwinTransformer('tiny', img_size=224, out_indices=(0, 1, 2))), 224)
    assert {'backbone.stages.0.blocks.1', 'backbone.stages.2.blocks.5'} <= set(found)
    gap = Model(ResNet(18), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    gap.neck.forward = lambda x: nn.Sequential.forward(gap.neck, x[-1])
    assert not [path for path in of(gap) if path.startswith('neck')]


def test_the_outputs_of_a_neck_come_after_the_backbone():
    found = of(Model(ResNet(18, out_indices=(1, 2, 3)), FPN([128, 256, 512], 32, 3)))
    assert found[-3:] == ['neck[0]', 'neck[1]', 'neck[2]']
    assert found[-4] == 'backbone.layer4'


def test_activations_and_batch_norms_are_no_stages():
    found = of(Model(MobileNetV2(0.25)))
    assert found[0] == 'backbone.conv1.conv'
    assert not [path for path in found if path.endswith(('bn', 'activate'))]
