import pytest
import torch

from ovkd_mm.functional import partial_l2
from ovkd_mm.losses import PartialL2Loss


def test_loss_is_summed_over_the_map_averaged_over_the_batch_and_weighted():
    student, teacher = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2)
    expected = sum(partial_l2(s[None], t[None]).item() for s, t in zip(student, teacher, strict=True)) / 4
    assert PartialL2Loss(loss_weight=0.5)(student, teacher).item() == pytest.approx(0.5 * expected, rel=1e-5)


def test_the_skipped_part_is_that_of_the_positions_below_a_blocked_teacher():
    #                        skipped | above it | teacher positive | skipped (equal) | at zero: skipped
    student = torch.tensor([[-2.0, -0.5, -1.0, -0.3, -0.1]])
    teacher = torch.tensor([[-1.0, -0.8, 0.5, -0.3, 0.0]])
    loss = PartialL2Loss()
    loss(student, teacher)
    assert loss.log(compared=True)['skipped'].item() == pytest.approx(3 / 5)
    assert loss.log(compared=False)['skipped'].item() == 1
    assert loss.distance(student, teacher).tolist() == [pytest.approx([0, 0.09, 2.25, 0, 0])]


def test_the_skipped_part_holds_no_graph():
    loss = PartialL2Loss()
    loss(torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 3, 4, 4))
    assert not loss.log(compared=True)['skipped'].requires_grad


def test_a_loss_without_a_weight_has_weight_one():
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    torch.testing.assert_close(PartialL2Loss(loss_weight=3.0)(student, teacher), 3 * PartialL2Loss()(student, teacher))


def test_nothing_is_known_of_what_was_skipped_before_the_first_call():
    assert PartialL2Loss().log(compared=True) == {}


def test_all_is_skipped_where_nothing_is_compared_from_the_start_as_after_a_resume():
    assert PartialL2Loss().log(compared=False) == dict(skipped=1)
