from mmdet.models.backbones import ResNet
from torch import nn

from ovkd_mm.positions import EndOfGroup, PreReLU, trace


def test_the_end_is_what_comes_out_of_the_activation_that_pre_relu_reads():
    traced = trace(ResNet(18), (64, 64))
    before, after = (position('layer2').resolve(traced) for position in (PreReLU, EndOfGroup))
    assert (before.path, before.call) == (after.path, after.call)
    assert (before.side, after.side) == ('input', 'output')


def test_a_group_without_an_activation_is_read_at_its_own_output():
    found = EndOfGroup('0').resolve(trace(nn.Sequential(nn.Conv2d(3, 4, 1)), (4, 4)))
    assert (found.path, found.side) == ('0', 'output')
