import pytest
import torch
from torch import nn
from toy import needs_float16

from ovkd_mm.functional import gram_matrix
from ovkd_mm.transforms import Conv1x1, GramMatrix


def test_a_teachers_matrix_is_that_of_the_formula():
    ends = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)
    assert torch.equal(GramMatrix()(ends), gram_matrix(*ends))


def test_a_student_of_equal_channels_has_nothing_to_learn():
    transform = GramMatrix((3, 5), (3, 5))
    ends = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)
    assert torch.equal(transform(ends), gram_matrix(*ends))
    assert not list(transform.parameters())


def test_ends_of_other_channels_get_a_connector_to_the_teachers():
    transform = GramMatrix((2, 5), (3, 5))
    assert [type(connector) for connector in transform.connectors] == [Conv1x1, nn.Identity]
    first, last = torch.randn(2, 2, 4, 4), torch.randn(2, 5, 4, 4)
    found = transform((first, last))
    assert found.shape == (2, 3, 5)
    torch.testing.assert_close(found, gram_matrix(transform.connectors[0](first), last))


@needs_float16
def test_half_precision_ends_do_not_overflow_even_under_autocast():
    ends = (torch.full((1, 1, 64, 64), 100.0, dtype=torch.half),) * 2
    with torch.autocast('cpu', torch.half):
        found = GramMatrix()(ends)
    assert found.dtype == torch.float32
    assert found.item() == 1e4  # a sum of 4096 * 1e4, far beyond 65504, over 4096


def test_ends_without_a_partner_are_an_error():
    with pytest.raises(ValueError, match='shorter'):
        GramMatrix((3, 5), (3,))
    with pytest.raises(ValueError, match='longer'):
        GramMatrix((3, 5), (3, 5))(3 * (torch.randn(2, 3, 4, 4),))
