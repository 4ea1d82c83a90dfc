import pytest
import timm
from mmdet.models.backbones import SSDVGG, ResNet
from mmseg.models.backbones import MobileNetV2
from torch import nn

from ovkd_mm.positions import EndOfGroup, MidLayer, auto_places, trace


@pytest.fixture(scope='module')
def resnet50():
    return trace(ResNet(50), (64, 64))


@pytest.mark.parametrize(('group', 'middle'), [('layer1', 1), ('layer2', 1), ('layer3', 2), ('layer4', 1)])
def test_the_middle_of_a_stage_is_the_end_of_its_middle_block_the_earlier_of_two(resnet50, group, middle):
    found = MidLayer(group).resolve(resnet50)
    assert (found.name, found.path, found.call, found.side) == (group, f'{group}.{middle}.relu', 2, 'output')
    assert found.shape == EndOfGroup(group).resolve(resnet50).shape


def test_the_middle_of_vggs_rows_is_their_middle_convolution_after_its_relu():
    traced = trace(SSDVGG(depth=16, ceil_mode=True, out_indices=(3, 4), out_feature_indices=(22, 34)), (75, 75))
    # conv3_1, conv3_2, conv3_3 and conv4_1, conv4_2, conv4_3, each with a ReLU after it
    assert [MidLayer(f'features.{end}').resolve(traced).path for end in (15, 22)] == ['features.13', 'features.20']


def test_the_middle_of_linear_bottlenecks_is_read_where_it_ends_since_a_shortcut_leads_around_the_next():
    found = MidLayer('layer3').resolve(trace(MobileNetV2(), (64, 64)))
    assert (found.path, found.side) == ('layer3.1', 'output')


def test_dropout_is_no_layer():
    convs = [nn.Conv2d(3, 3, 1), nn.Dropout(), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)]
    traced = trace(nn.Sequential(nn.Sequential(*convs)), (4, 4))
    assert MidLayer('0').resolve(traced).path == '0.2'


def test_layers_of_another_size_do_not_count():
    group = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
    assert MidLayer('0').resolve(trace(nn.Sequential(group), (8, 8))).path == '0.2'


def test_a_layer_alone_is_its_own_middle():
    found = MidLayer('0').resolve(trace(nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 4, 1)), (8, 8)))
    assert (found.path, found.side) == ('0', 'output')


def test_the_middle_of_each_stage_of_a_trunk_is_a_block_as_in_timms_convnext():
    model = timm.create_model('convnext_atto', depths=(3, 3, 3, 3), dims=(4, 4, 4, 4))
    traced = trace(model, (64, 64))
    middles = [MidLayer(place).resolve(traced).path for places in auto_places(traced).values() for place in places]
    assert middles == ['stages.0.blocks.1', *(f'stages.{i}.blocks.0' for i in (1, 2, 3))]
