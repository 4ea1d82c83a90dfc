import torch

from ovkd_mm.transforms import Binarize


def test_only_what_is_above_zero_is_active():
    feature = torch.tensor([[-1.0, -0.0, 0.0, 1e-30, 2.0]])
    assert Binarize()(feature).tolist() == [[0, 0, 0, 1, 1]]
    assert Binarize()(feature.half() + 1).dtype == torch.half
