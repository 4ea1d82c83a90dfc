import torch
from mmdet.models.backbones import ResNet

from ovkd_mm.positions import ModuleOutput, Tap, reading, trace


def test_an_output_that_the_shortcut_is_added_into_is_read_before_the_addition():
    net = ResNet(18)
    place = ModuleOutput('layer1.0.bn2').resolve(trace(net, (64, 64)))
    assert place.overwritten
    tap, seen = Tap(place), []
    net.layer1[0].bn2.register_forward_hook(lambda module, args, output: seen.append(output.clone()))
    with torch.no_grad(), reading(net, [tap]):
        net(torch.randn(1, 3, 64, 64))
        assert torch.equal(tap.take(), seen[0])
