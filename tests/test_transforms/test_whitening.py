import torch

from ovkd_mm.transforms import Whitening


def test_each_position_has_mean_0_and_variance_1_over_its_channels_whatever_its_size():
    feature = torch.randn(2, 8, 3, 5) * torch.tensor([1.0, 1000]).view(2, 1, 1, 1) + 7
    white = Whitening()(feature)
    torch.testing.assert_close(white.mean(1), torch.zeros(2, 3, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(white.var(1, unbiased=False), torch.ones(2, 3, 5), atol=1e-3, rtol=0)
    torch.testing.assert_close(Whitening()(10 * feature + 1), white, atol=1e-3, rtol=0)
    # The channels keep their order: a position's largest stays its largest.
    assert torch.equal(white.argmax(1), feature.argmax(1))


def test_half_precision_is_computed_in_full():
    feature = (torch.randn(1, 8, 2, 2) * 3e4).half()
    assert Whitening()(feature).dtype == torch.float32
    assert torch.isfinite(Whitening()(feature)).all()
