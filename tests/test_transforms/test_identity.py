import torch
from mmengine.registry import MODELS

import ovkd_mm.transforms  # noqa: F401


def test_the_feature_is_the_very_same_tensor():
    feature = torch.randn(2, 3)
    assert MODELS.build(dict(type='ovkd_mm.Identity'))(feature) is feature
