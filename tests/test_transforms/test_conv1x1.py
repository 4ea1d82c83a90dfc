import math

import torch
from torch import nn

from ovkd_mm.transforms import Conv1x1


def test_connector_starts_as_the_authors_do():
    connector = Conv1x1(256, 512)
    weight = connector.conv.weight
    assert weight.shape == (512, 256, 1, 1)
    assert connector.conv.bias is None
    # 131072 draws: the sample's deviation is within 1 % of sqrt(2 / 512), its mean within 5 standard errors of 0.
    assert abs(weight.std().item() / math.sqrt(2 / 512) - 1) < 0.01
    assert abs(weight.mean().item()) < 5 * math.sqrt(2 / 512 / weight.numel())
    assert isinstance(connector.bn, nn.BatchNorm2d)
    assert torch.equal(connector.bn.weight, torch.ones(512))
    assert torch.equal(connector.bn.bias, torch.zeros(512))


def test_connector_normalizes_each_channel_of_its_output():
    out = Conv1x1(3, 5)(10 * torch.randn(8, 3, 6, 6) + 4)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(5), atol=1e-4, rtol=0)
    torch.testing.assert_close(out.var((0, 2, 3), unbiased=False), torch.ones(5), atol=1e-3, rtol=0)


def test_without_the_norm_the_connector_is_a_convolution_with_a_bias():
    connector = Conv1x1(3, 5, norm=False)
    feature = torch.randn(2, 3, 4, 4)
    expected = torch.einsum('nchw,dc->ndhw', feature, connector.conv.weight[:, :, 0, 0])
    torch.testing.assert_close(connector(feature), expected + connector.conv.bias.view(1, -1, 1, 1))
    assert set(connector.state_dict()) == {'conv.weight', 'conv.bias'}
