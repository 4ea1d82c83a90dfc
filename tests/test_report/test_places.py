import math

import pytest
import torch
import toy  # noqa: F401  (registers ToyClassifier)
from mmpretrain.models.backbones import ResNet, VisionTransformer
from rich.console import Console
from torch import nn

from ovkd_mm.launch.positions import Network, join
from ovkd_mm.method_files import read_method
from ovkd_mm.positions import trace
from ovkd_mm.report.places import cost_of, in_short, pairs_table, places_table, rows_of, stride

OFD = dict(type='ovkd_mm.PreReLU')


def network(backbone, size=(64, 64), loaded=False):
    model = nn.Module()
    model.backbone = backbone
    model.forward = lambda x: model.backbone(x)
    return Network('net.py', model, trace(model, size), loaded)


def printed(table):
    console = Console(width=150, record=True, file=open('/dev/null', 'w'))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def test_the_rows_are_where_auto_reads_and_a_frozen_one_is_not_taken_of_a_student():
    found = network(ResNet(18, out_indices=(0, 1, 2, 3), frozen_stages=1))
    rows = rows_of(found, OFD, teaches=False)
    assert [row.path for row in rows] == [f'backbone.layer{i}' for i in (1, 2, 3, 4)]
    assert [(row.trained, row.auto) for row in rows] == [(False, False)] + [(True, True)] * 3
    assert [row.auto for row in rows_of(found, OFD, teaches=True)] == [True] * 4
    assert [stride(found, row.place) for row in rows] == ['4', '8', '16', '32']


def test_all_adds_blocks_and_marks_those_of_auto():
    rows = rows_of(network(ResNet(18)), OFD, teaches=True, every=True)
    assert 'backbone.layer2.0' in [row.path for row in rows]
    assert [row.path for row in rows if row.auto] == [f'backbone.layer{i}' for i in (1, 2, 3, 4)]


def test_both_ends_of_a_span_have_a_row():
    rows = rows_of(network(ResNet(18)), dict(type='ovkd_mm.GroupEnds'), teaches=True)
    assert [row.path for row in rows[:2]] == ['backbone.layer1'] * 2
    assert rows[0].place != rows[1].place


def test_where_a_method_finds_nothing_to_read_the_table_says_so():
    class Dense(nn.Module):  # a group whose layer takes a list
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 3, 2, 1)
            self.layer.forward = lambda xs: nn.Conv2d.forward(self.layer, xs[0])

        def forward(self, x):
            return self.layer([x])

    dense = network(Dense())
    rows = rows_of(dense, dict(type='ovkd_mm.GroupEnds'), teaches=True)
    assert [(row.path, row.place, row.auto) for row in rows] == [('backbone.layer', None, False)]
    assert 'nothing for this method' in printed(places_table(dense, rows))


def test_the_stride_of_unequal_sides_is_told_for_both():
    found = network(ResNet(18), size=(64, 60))
    assert stride(found, rows_of(found, OFD, teaches=True)[-1].place) == '32x30'


def test_a_table_says_what_is_read():
    found = network(ResNet(50))
    text = printed(places_table(found, rows_of(found, OFD, False), 'student'))
    assert 'student net.py: 23.51 M parameters' in text
    (line,) = [line for line in text.splitlines() if 'backbone.layer1' in line]
    cells = '* backbone.layer1 input of .2.relu, call 2 256x16x16 NCHW 4 .2.bn3 yes'
    assert ' '.join(line.split()) == cells
    alone = printed(places_table(found, rows_of(found, OFD, False)))
    assert '.2.bn3 closed form yes' in ' '.join(alone.split())
    teacher = printed(places_table(found, rows_of(found, OFD, True), 'teacher'))
    assert 'closed form' in teacher
    assert 'trained' not in teacher


def test_the_margin_of_trained_weights_is_its_range_over_the_channels():
    backbone = ResNet(18)
    norm = backbone.layer4[1].bn2
    nn.init.constant_(norm.weight, 2.0)
    norm.bias.data[:] = torch.linspace(-3, 1, len(norm.bias))

    def expected(beta, scale=2.0):  # the mean of the negative part of a normal law
        ratio = beta / scale
        return beta - scale * math.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi) / (
            0.5 * math.erfc(ratio / math.sqrt(2))
        )

    found = network(backbone, loaded=True)
    text = printed(places_table(found, rows_of(found, OFD, True)))
    (line,) = [line for line in text.splitlines() if 'backbone.layer4' in line]
    assert f'{expected(-3):.2f} to {expected(1):.2f}' in line


def test_without_a_batch_norm_the_margin_is_running_and_without_an_activation_there_is_none():
    plain = network(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU()))
    assert 'running' in printed(places_table(plain, rows_of(plain, OFD, True)))
    tokens = network(VisionTransformer('deit-tiny', img_size=64, out_type='featmap'))
    text = printed(places_table(tokens, rows_of(tokens, OFD, True)))
    assert 'no activation' in text
    assert '192x4x4' in text


def pair(method, student, teacher):
    (found,) = join(student, teacher, read_method(method), [dict(student='backbone.1', teacher='backbone.1')])
    return found


def stage(channels):
    return network(nn.Sequential(nn.Conv2d(3, channels, 3, 2, 1), nn.BatchNorm2d(channels), nn.ReLU()))


@pytest.mark.parametrize(
    ('method', 'parameters', 'macs'),
    [
        ('ofd', 4 * 8 + 2 * 8, 4 * 8 * 32 * 32),
        ('at', 0, 0),
        # 3x3 convolutions of 4 to 4, 4 and 4 channels with a bias, and batch norms
        ('ft', 3 * (9 * 4 * 4 + 4 + 2 * 4), 3 * 9 * 4 * 4 * 32 * 32),
    ],
)
def test_a_connector_costs_its_parameters_and_what_its_convolutions_multiply(method, parameters, macs):
    cost = cost_of(pair(method, stage(4), stage(8)))
    assert (cost.parameters, cost.macs) == (parameters, macs)


def test_the_table_of_pairs_sums_up():
    student = stage(4)
    text = printed(pairs_table(student, [pair('ofd', student, stage(8)), pair('ofd', student, stage(16))]))
    whole = 48 + 96
    share = 100 * whole / student.parameters
    (line,) = [line for line in text.splitlines() if line.split()[:1] == ['all']]
    assert line.split() == ['all', str(whole), f'{share:.1f}', '%', in_short((4 * 8 + 4 * 16) * 1024).split()[0], 'k']


def test_numbers_are_short():
    assert [in_short(number) for number in (7, 1500, 2_500_000, 3_000_000_000)] == ['7', '1.50 k', '2.50 M', '3.00 G']
