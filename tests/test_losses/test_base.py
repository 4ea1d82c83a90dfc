import pytest
import torch

from ovkd_mm import losses
from ovkd_mm.losses import DistillLoss


class Halves(DistillLoss):
    def distance(self, student, teacher):
        return (student - teacher) / 2


def test_by_default_a_loss_is_the_mean_of_its_distance_times_its_weight_and_logs_nothing():
    student, teacher = torch.tensor([[4.0, 8.0]]), torch.tensor([[2.0, 2.0]])
    assert Halves(loss_weight=3.0)(student, teacher).item() == 3 * (1 + 3) / 2
    assert Halves()(student, teacher).item() == 2
    assert Halves().log(compared=True) == {}


def test_a_loss_without_a_distance_cannot_be_made():
    with pytest.raises(TypeError, match='abstract'):
        DistillLoss()


def test_every_loss_of_ours_is_one():
    assert all(issubclass(getattr(losses, name), DistillLoss) for name in losses.__all__)
