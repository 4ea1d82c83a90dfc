import pytest
import torch

from ovkd_mm.benchmark.operation import operations
from ovkd_mm.functional import margin_relu, partial_l2

SHAPE = (2, 4, 5, 6)


@pytest.mark.parametrize('channels_last', [True, False])
def test_both_ways_give_one_gradient(channels_last):
    things = operations(SHAPE, torch.device('cpu'), channels_last)
    for what in ('loss', 'norm and loss'):
        (plain,), (joined,) = things[f'{what}, plain'](), things[f'{what}, in one operation']()
        torch.testing.assert_close(joined, plain)
        assert plain.abs().sum() > 0
        assert joined.is_contiguous(memory_format=torch.channels_last) is channels_last
    assert not torch.allclose(things['loss, plain']()[0], things['norm and loss, plain']()[0])


def test_the_loss_is_ofds():
    things = operations(SHAPE, torch.device('cpu'), False)
    torch.manual_seed(0)
    student, teacher = torch.randn(SHAPE).requires_grad_(), torch.randn(SHAPE)
    partial_l2(student, margin_relu(teacher, torch.full((4,), -0.8))).backward()
    torch.testing.assert_close(things['loss, plain']()[0], student.grad)


def test_a_copy_is_one():
    things = operations(SHAPE, torch.device('cpu'), True)
    first, second = things['copy'](), things['copy']()
    assert torch.equal(first, second) and first.data_ptr() != second.data_ptr()
    assert first.is_contiguous(memory_format=torch.channels_last)
