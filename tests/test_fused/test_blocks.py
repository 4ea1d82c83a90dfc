import pytest
import torch

from ovkd_mm.fused import blocks


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('shape', [(2, 3, 4, 5), (8, 64, 5, 5), (3, 7, 1, 1), (1, 1, 9, 9)])
@pytest.mark.parametrize('block', [1, 60, 400, 10**6])
def test_blocks_cover_a_feature_once_and_have_no_holes(monkeypatch, block, shape, layout):
    monkeypatch.setattr(blocks, 'BLOCK', block)
    feature = torch.zeros(shape).to(memory_format=layout)
    view = feature.flatten(2)
    assert view.data_ptr() == feature.data_ptr()
    groups = blocks._blocks(feature)
    for group in groups:
        assert len({(one[1].start, one[1].stop) for one in group}) == 1
        for one in group:
            view[one] += 1
            # A channel, or a position with all channels, is not divided.
            assert view[one].numel() <= max(block, feature[:, 0].numel() if feature.is_contiguous() else shape[1])
    assert (feature == 1).all()
    # Each channel is in one group alone.
    channels = [channel for group in groups for channel in range(shape[1])[group[0][1]]]
    assert channels == list(range(shape[1]))


def test_moments_of_parts_are_those_of_the_whole():
    torch.manual_seed(0)
    feature = 1000 + torch.randn(4, 3, 50, dtype=torch.float64)
    parts = [(slice(0, 1), slice(None), slice(None)), (slice(1, 4), slice(None), slice(0, 7))]
    parts.append((slice(1, 4), slice(None), slice(7, 50)))
    mean, variance = blocks._moments(feature, parts)
    whole = feature.transpose(0, 1).flatten(1)
    torch.testing.assert_close(mean[:, 0], whole.mean(1), rtol=1e-12, atol=0)
    torch.testing.assert_close(variance[:, 0], whole.var(1, correction=0), rtol=1e-9, atol=0)


def test_moments_far_from_zero_are_exact_in_float32():
    torch.manual_seed(0)
    feature = (1000 + torch.randn(4, 3, 500)).float()
    _, variance = blocks._moments(
        feature, [(slice(None), slice(None), slice(0, 250)), (slice(None), slice(None), slice(250, 500))]
    )
    expected = feature.double().transpose(0, 1).flatten(1).var(1, correction=0)
    torch.testing.assert_close(variance[:, 0].double(), expected, rtol=1e-4, atol=0)
