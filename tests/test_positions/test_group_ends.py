import pytest
import torch
from mmdet.models.backbones import SSDVGG, ResNet
from torch import nn

from ovkd_mm.models import WideResNet
from ovkd_mm.positions import GroupEnds, reading, tap_at, trace


def test_the_ends_of_a_stage_are_its_input_and_its_output():
    model = ResNet(18)
    span = GroupEnds('layer2').resolve(trace(model, (64, 64)))
    assert (span.name, span.channels, span.size) == ('layer2', (64, 128), (8, 8))
    seen = {}
    model.layer2.register_forward_hook(lambda module, args, output: seen.update(first=args[0], last=output))
    tap = tap_at(span)
    with reading(model, [tap]), torch.no_grad():
        model(torch.randn(1, 3, 64, 64))
        first, last = tap.take()
    assert torch.equal(first, seen['first']) and torch.equal(last, seen['last'])


def test_a_row_of_vgg_begins_with_the_pooling_that_leads_to_its_size():
    traced = trace(SSDVGG(depth=16, ceil_mode=True, out_indices=(3, 4), out_feature_indices=(22, 34)), (75, 75))
    ends = [GroupEnds(f'features.{end}').resolve(traced) for end in (15, 22, 34)]
    assert [span.first.path for span in ends] == ['features.9', 'features.16', 'features.23']
    assert [span.channels for span in ends] == [(128, 256), (256, 512), (512, 1024)]


def test_ends_of_pre_activation_groups_are_read_after_the_batch_norm_and_its_activation():
    traced = trace(WideResNet(16, 2), (32, 32))
    spans = {group: GroupEnds(group).resolve(traced) for group in ('layer1', 'layer2', 'layer3')}
    assert {group: (span.first.path, span.last.path) for group, span in spans.items()} == {
        'layer1': ('layer1.0.relu1', 'layer2.0.relu1'),
        'layer2': ('layer2.0.relu1', 'layer3.0.relu1'),
        'layer3': ('layer3.0.relu1', 'relu'),
    }
    assert spans['layer2'].channels == (32, 64)
    assert {place.side for span in spans.values() for place in (span.first, span.last)} == {'output'}
    assert [(span.first.name, span.last.name) for span in spans.values()] == [(group, group) for group in spans]


def test_a_list_of_modules_within_a_group_is_no_layer():
    class Group(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList([nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 1)])

        def forward(self, x):
            for conv in self.convs:
                x = conv(x)
            return x

    span = GroupEnds('0').resolve(trace(nn.Sequential(Group()), (8, 8)))
    assert (span.first.path, span.first.side, span.channels) == ('0.convs.0', 'input', (3, 5))


def test_the_first_end_is_kept_where_the_group_writes_into_it():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1)))
    span = GroupEnds('1').resolve(trace(model, (4, 4)))
    tap, inputs = tap_at(span), torch.randn(1, 3, 4, 4)
    with reading(model, [tap]):
        output = model(inputs)
        first, last = tap.take()
    assert torch.equal(first, model[0](inputs)) and (first < 0).any()
    assert last is output


def test_a_forward_that_passes_one_end_alone_is_an_error():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
    tap = tap_at(GroupEnds('1').resolve(trace(model, (4, 4))))
    with reading(model, [tap]):
        tap.arm(model)
        assert tap.feature is None
        with pytest.raises(RuntimeError, match='never passed the tap'):
            tap.take()


class Branches(nn.Module):
    """RepVGG: a convolution, and a batch norm in place of the identity."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()

    def forward(self, x):
        return self.act(self.conv(x) + self.norm(x))


def test_a_batch_norm_in_one_of_two_branches_is_not_where_a_group_begins():
    span = GroupEnds('1').resolve(trace(nn.Sequential(Branches(), Branches()), (4, 4)))
    assert (span.first.path, span.first.side) == ('1.conv', 'input')
    assert (span.last.path, span.last.side) == ('1.act', 'output')


def test_a_group_begins_after_a_batch_norm_that_leads_to_its_only_convolution_though_no_activation_follows():
    group = nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.ReLU())
    span = GroupEnds('1').resolve(trace(nn.Sequential(nn.Conv2d(3, 4, 1), group), (4, 4)))
    assert (span.first.path, span.first.side) == ('1.0', 'output')
    assert (span.last.path, span.last.side) == ('1.2', 'output')


def test_what_takes_no_tensor_has_no_ends():
    class Sum(nn.Module):
        def forward(self, xs):
            return sum(xs)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.sum = nn.Conv2d(3, 3, 1, 2), Sum()

        def forward(self, x):
            return self.conv(self.sum([x, x]))

    with pytest.raises(ValueError, match="'sum' has no input of one tensor"):
        GroupEnds('sum').resolve(trace(Model(), (4, 4)))
