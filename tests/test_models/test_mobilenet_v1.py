import copy

import pytest
import torch
from mmengine.registry import MODELS as ROOT
from mmpretrain.structures import DataSample
from torch import nn
from toy import METHOD, distiller_config

from ovkd_mm.models import MobileNetV1

# Table 1 of the paper, row by row: kind, stride, input channels, output channels.
TABLE = [
    ('conv', 2, 3, 32),
    *[
        row
        for stride, in_channels, out_channels in (
            (1, 32, 64),
            (2, 64, 128),
            (1, 128, 128),
            (2, 128, 256),
            (1, 256, 256),
            (2, 256, 512),
            *[(1, 512, 512)] * 5,
            (2, 512, 1024),
            (1, 1024, 1024),
        )
        for row in (('dw', stride, in_channels, in_channels), ('pw', 1, in_channels, out_channels))
    ],
]


def test_the_convolutions_are_those_of_the_papers_table():
    convs = [module for module in MobileNetV1().modules() if isinstance(module, nn.Conv2d)]
    kinds = {(3, 1): 'conv', (1, 1): 'pw'}
    rows = [
        (
            'dw' if conv.groups == conv.in_channels else kinds[conv.kernel_size[0], conv.groups],
            conv.stride[0],
            conv.in_channels,
            conv.out_channels,
        )
        for conv in convs
    ]
    assert rows == TABLE
    assert all(conv.bias is None and conv.padding[0] == conv.kernel_size[0] // 2 for conv in convs)


def test_it_has_the_papers_parameters():
    """4.2 M in table 8, of which the classifier of 1000 classes holds 1024 * 1000 + 1000."""
    parameters = sum(parameter.numel() for parameter in MobileNetV1().parameters())
    assert parameters == 4_231_976 - 1_025_000


@pytest.mark.parametrize(('size', 'sizes'), [(224, (112, 56, 28, 14, 7)), (300, (150, 75, 38, 19, 10))])
def test_each_stage_has_the_size_and_channels_that_the_docstring_says(size, sizes):
    model = MobileNetV1(out_indices=(0, 1, 2, 3, 4)).eval()
    with torch.no_grad():
        outs = model(torch.randn(1, 3, size, size))
    assert [tuple(out.shape) for out in outs] == [
        (1, channels, side, side) for channels, side in zip((64, 128, 256, 512, 1024), sizes, strict=True)
    ]
    assert all((out >= 0).all() for out in outs)


def test_it_returns_the_asked_stages_only():
    model = MobileNetV1(out_indices=(0, 1, 2, 3, 4)).eval()
    image = torch.randn(1, 3, 64, 64)
    outs = model(image)
    model.out_indices = MobileNetV1(out_indices=(2, 4)).out_indices
    assert all(torch.equal(out, outs[index]) for out, index in zip(model(image), (2, 4), strict=True))


def test_every_convolution_has_a_relu_of_its_own_that_is_called_once():
    model = MobileNetV1()
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    relus = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    calls = []
    for relu in relus:
        relu.register_forward_hook(lambda module, *_: calls.append(module))
    model(torch.randn(2, 3, 32, 32))
    assert len(relus) == len(convs) == 27
    assert calls == relus
    assert all(relu.inplace for relu in relus)


def test_checkpointing_computes_again_and_gives_the_same_loss_and_gradients():
    model = MobileNetV1()
    checkpointed = MobileNetV1(with_cp=True)
    checkpointed.load_state_dict(model.state_dict())
    calls = []
    checkpointed.layer3[1][2].register_forward_hook(lambda *_: calls.append(1))
    images = torch.randn(2, 3, 64, 64)
    gradients = []
    for net in (model, checkpointed):
        loss = net(images)[0].square().mean()
        loss.backward()
        gradients.append([loss.detach(), *[parameter.grad for parameter in net.parameters()]])
    assert len(calls) == 2
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)


def test_what_is_read_inside_a_checkpointed_block_has_a_gradient():
    model = MobileNetV1(with_cp=True)
    read = []
    model.layer2[0][5].register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].clone()))
    model(torch.randn(2, 3, 64, 64))
    (gradient,) = torch.autograd.grad(read[0].sum(), model.layer2[0][3].weight)
    assert gradient.abs().sum() > 0


def test_frozen_stages_keep_weights_and_statistics_and_the_others_learn():
    model = MobileNetV1(frozen_stages=2)
    assert not any(parameter.requires_grad for parameter in model.layer2.parameters())
    model.train()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.randn(2, 3, 64, 64))[0].sum().backward()
    optimizer.step()
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if not key.startswith(('layer1.', 'layer2.'))}


def test_norm_eval_keeps_the_statistics_and_trains_the_weights():
    model = MobileNetV1(norm_eval=True).train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    model(torch.randn(2, 3, 64, 64))[0].sum().backward()
    assert all((norm.running_mean == 0).all() and norm.weight.grad is not None for norm in norms)
    assert model.training


def test_initialization_is_kaimings():
    model = MobileNetV1()
    with torch.no_grad():
        model.layer5[1][3].weight.fill_(7)
        model.layer5[1][4].weight.fill_(7)
    model.init_weights()
    weight = model.layer5[1][3].weight
    assert weight.std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.01)
    assert (model.layer5[1][4].weight == 1).all()


@pytest.mark.parametrize(
    ('options', 'key'),
    [
        (dict(out_indices=(5,)), 'out_indices'),
        (dict(out_indices=(-1,)), 'out_indices'),
        (dict(out_indices=()), 'out_indices'),
        (dict(frozen_stages=6), 'frozen_stages'),
        (dict(frozen_stages=-2), 'frozen_stages'),
    ],
)
def test_a_stage_that_does_not_exist_is_refused_by_name(options, key):
    with pytest.raises(ValueError, match=key):
        MobileNetV1(**options)


def test_configs_find_it_by_name():
    assert isinstance(ROOT.build(dict(type='ovkd_mm.MobileNetV1')), MobileNetV1)


def timms_model():
    timm = pytest.importorskip('timm', reason='timm is not installed')
    torch.manual_seed(0)
    net = timm.create_model('mobilenetv1_100', act_layer='relu').eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):  # a wrong one shows
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return net


def assert_is_timms(model, net, images):
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images)[0], net.forward_features(images))


def test_timms_weights_are_taken_from_a_file_and_from_timm_itself(tmp_path, monkeypatch):
    net = timms_model()
    images = torch.randn(2, 3, 64, 64)
    torch.save(net.state_dict(), tmp_path / 'timm.pth')
    model = MobileNetV1(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'timm.pth')))
    model.init_weights()
    assert_is_timms(model, net, images)

    asked = []
    monkeypatch.setattr('timm.create_model', lambda name, pretrained: asked.append((name, pretrained)) or net)
    name = 'mobilenetv1_100.ra4_e3600_r224_in1k'
    model = MobileNetV1(init_cfg=dict(type='Pretrained', checkpoint=f'timm://{name}'))
    model.init_weights()
    assert asked == [(name, True)]
    assert_is_timms(model, net, images)


def test_timms_weights_are_taken_inside_a_detector_too(tmp_path):
    net = timms_model()
    holder = nn.Module()
    holder.backbone = MobileNetV1()
    result = holder.load_state_dict({f'backbone.{key}': value for key, value in net.state_dict().items()}, strict=False)
    assert not result.missing_keys
    assert result.unexpected_keys == ['backbone.classifier.weight', 'backbone.classifier.bias']
    assert_is_timms(holder.backbone, net, torch.randn(1, 3, 32, 32))


@pytest.mark.parametrize(
    'method', [dict(METHOD, loss=dict(METHOD['loss'], loss_weight='auto')), 'jacobian'], ids=['measured', 'jacobian']
)
def test_what_matches_or_measures_gradients_is_the_same_where_activations_are_recomputed(method):
    found = []
    for with_cp in (False, True):
        backbone = dict(type='ovkd_mm.MobileNetV1', with_cp=with_cp, out_indices=[4], init_cfg=[])
        head = dict(type='mmpretrain.LinearClsHead', num_classes=3, in_channels=1024)
        neck = dict(type='mmpretrain.GlobalAveragePooling')
        student = dict(type='mmpretrain.ImageClassifier', backbone=backbone, neck=neck, head=head)
        pairs = [dict(student='backbone.layer2', teacher='backbone.layer1', resize=True)]
        torch.manual_seed(0)
        model = ROOT.build(distiller_config(student=student, method=method, pairs=pairs, channel_order='bgr')).train()
        samples = [DataSample().set_gt_label(label) for label in range(2)]
        losses = model(torch.randn(2, 3, 32, 32), samples, mode='loss')
        losses['loss_distill_0'].backward()
        found += [[losses['loss_distill_0'].detach(), model.student.backbone.layer1[1][0].weight.grad]]
    torch.testing.assert_close(found[1], found[0])
