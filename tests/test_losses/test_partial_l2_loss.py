import pytest
import torch

from ovkd_mm.functional import partial_l2
from ovkd_mm.losses import PartialL2Loss


def test_loss_is_summed_over_the_map_averaged_over_the_batch_and_weighted():
    student, teacher = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2)
    expected = sum(partial_l2(s[None], t[None]).item() for s, t in zip(student, teacher, strict=True)) / 4
    assert PartialL2Loss(loss_weight=0.5)(student, teacher).item() == pytest.approx(0.5 * expected, rel=1e-5)
