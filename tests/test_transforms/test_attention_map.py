import torch

from ovkd_mm.functional import attention_map
from ovkd_mm.transforms import AttentionMap


def test_the_map_is_that_of_the_formula_and_there_is_nothing_to_learn():
    transform = AttentionMap()
    feature = torch.randn(2, 3, 4, 5)
    assert torch.equal(transform(feature), attention_map(feature))
    assert not list(transform.parameters()) and not transform.state_dict()


def test_squares_of_half_precision_features_do_not_overflow():
    feature = torch.full((1, 2, 2, 2), 6e4, dtype=torch.half)
    torch.testing.assert_close(AttentionMap()(feature), torch.full((1, 1, 2, 2), 0.5))
