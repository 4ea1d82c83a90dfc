import torch

from ovkd_mm.transforms import ReLU


def test_negative_responses_become_zero_in_a_tensor_of_its_own():
    feature = torch.tensor([-2.0, 0.0, 3.0])
    assert ReLU()(feature).tolist() == [0, 0, 3]
    assert feature.tolist() == [-2, 0, 3]
