import torch
from torch.nn import functional as F  # noqa: N812
from toy import needs_float16

from ovkd_mm.losses import L2Loss
from ovkd_mm.transforms import ChannelCorrelation, Conv1x1


def test_the_loss_is_the_authors_sum_over_rows_divided_by_channels():
    student, teacher = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)
    transform = ChannelCorrelation()
    found = L2Loss(reduction='sum')(transform(student), transform(teacher))
    expected = 0.0
    for one, other in zip(student.flatten(2), teacher.flatten(2), strict=True):
        rows = [F.normalize(torch.tensor([[(a * b).sum() for b in x] for a in x]), dim=1) for x in (one, other)]
        expected += (rows[0] - rows[1]).square().sum() / 3
    torch.testing.assert_close(found, expected / 2, check_dtype=False, rtol=1e-6, atol=0)


def test_positions_may_be_shuffled_and_features_scaled():
    feature = torch.randn(2, 3, 4, 5)
    shuffled = 7 * feature.flatten(2)[..., torch.randperm(20)].view_as(feature)
    torch.testing.assert_close(ChannelCorrelation()(shuffled), ChannelCorrelation()(feature))


def test_a_students_feature_passes_a_connector_and_a_teachers_does_not():
    transform = ChannelCorrelation(3, 5)
    assert isinstance(transform.connector, Conv1x1)
    assert transform(torch.randn(2, 3, 4, 4)).shape == (2, 5, 5)
    assert not list(ChannelCorrelation().parameters())
    assert ChannelCorrelation()(torch.randn(2, 6, 4, 4)).shape == (2, 6, 6)


@needs_float16
def test_sums_are_float32_under_autocast():
    feature = torch.full((1, 2, 64, 64), 100.0)
    with torch.autocast('cpu', torch.float16):
        found = ChannelCorrelation()(feature)
    torch.testing.assert_close(found, torch.full((1, 2, 2), 0.5))
