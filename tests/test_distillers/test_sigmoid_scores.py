import pytest
import torch
from mmengine.registry import MODELS
from torch import nn
from toy import distiller_config

from ovkd_mm.distillers import sigmoid_scores


def classifier(head):
    backbone = dict(type='mmpretrain.ResNet', depth=18)
    neck = dict(type='mmpretrain.GlobalAveragePooling')
    head = dict(head, num_classes=4, in_channels=512)
    return dict(type='mmpretrain.ImageClassifier', backbone=backbone, neck=neck, head=head)


SOFTMAX = classifier(dict(type='mmpretrain.LinearClsHead'))
SIGMOID = classifier(dict(type='mmpretrain.MultiLabelLinearClsHead'))


@pytest.mark.parametrize(
    ('student', 'method', 'warned'),
    [
        (SIGMOID, 'kd', True),
        (SIGMOID, 'dist', True),
        (SOFTMAX, 'kd', False),
        (SIGMOID, 'at', False),
    ],
    ids=['kd', 'dist', 'softmax', 'features'],
)
def test_scores_of_single_classes_are_warned_of_where_distributions_are_compared(monkeypatch, student, method, warned):
    said = []
    monkeypatch.setattr(sigmoid_scores, 'print_log', lambda message, **_: said.append(message))
    torch.manual_seed(0)
    teacher = dict(model=dict(student), allow_random=True, channel_order='bgr')
    changes = dict(pairs=[dict(student='backbone.layer4', teacher='backbone.layer4')], logits='auto')
    MODELS.build(distiller_config(student=student, teacher=teacher, method=method, channel_order='bgr', **changes))
    assert len(said) == warned
    if warned:
        assert 'by itself (head.loss_module takes them through a sigmoid)' in said[0] and 'head.fc' in said[0]


def test_one_of_several_losses_is_named():
    student = nn.Module()
    student.head = nn.Module()
    student.head.fc, student.head.losses = nn.Linear(2, 2), nn.ModuleList([nn.Module(), nn.Module()])
    student.head.losses[1].use_sigmoid = True
    assert sigmoid_scores._sigmoid_loss(student, 'head.fc') == 'head.losses.1'


def test_a_loss_right_in_the_model_is_named_without_a_dot():
    student = nn.Module()
    student.fc, student.loss = nn.Linear(2, 2), nn.Module()
    student.loss.use_sigmoid = True
    assert sigmoid_scores._sigmoid_loss(student, 'fc') == 'loss'


def test_heat_maps_of_centers_are_sigmoids():
    from mmdet.models.losses import GaussianFocalLoss

    student = nn.Module()
    student.head = nn.Module()
    student.head.heatmap_head, student.head.loss_center_heatmap = nn.Sequential(nn.Conv2d(2, 2, 1)), GaussianFocalLoss()
    assert sigmoid_scores._sigmoid_loss(student, 'head.heatmap_head.0') == 'head.loss_center_heatmap'
