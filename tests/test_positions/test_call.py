import pytest
import torch
from torch import nn

from ovkd_mm.positions import trace
from ovkd_mm.positions.call import Value, split_item


def test_a_path_may_end_in_the_number_of_a_tensor():
    assert split_item('backbone[2]') == ('backbone', 2)
    assert split_item('neck.fpn[10]') == ('neck.fpn', 10)
    for path in ('backbone', 'backbone[x]', 'backbone[1].conv', ''):
        assert split_item(path) == (path, None)


def test_a_value_is_the_tensor_as_it_was_when_it_was_seen():
    weight = torch.ones(2, requires_grad=True)
    tensor = weight * 2
    value = Value.of(tensor)
    node = tensor.grad_fn
    assert (value.node, value.number, value.overwritten) == (node, 0, False)
    tensor.mul_(3)
    assert value.overwritten and value.node is node and tensor.grad_fn is not node


def test_a_call_says_whether_it_weighs_and_refuses_a_side_without_one_tensor():
    class Two(nn.Module):
        def forward(self, x):
            return x, x

    net = nn.ModuleDict(dict(conv=nn.Conv2d(3, 3, 1), norm=nn.BatchNorm2d(3), two=Two()))
    net.forward = lambda x: net['two'](net['norm'](net['conv'](x)))
    _, conv, norm, two = trace(net, (4, 4)).calls
    assert [call.has_weights for call in (conv, norm, two)] == [True, False, False]
    assert conv.value('output').tensor is norm.value('input').tensor
    with pytest.raises(ValueError, match="the output of 'two' is not one tensor"):
        two.value('output')
