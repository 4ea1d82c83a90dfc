import torch
from mmengine.runner import turn_on_activation_checkpointing
from torch import nn


def test_a_feature_read_inside_a_checkpointed_module_has_a_gradient_and_is_worked_out_twice():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 1))
    read = []
    model[0][0].register_forward_hook(lambda module, args, output: read.append(output))
    turn_on_activation_checkpointing(model, ['0'])
    model(torch.randn(4, 2)).sum().backward()
    assert [feature.requires_grad for feature in read] == [True, True]


def test_keyword_arguments_reach_the_checkpointed_module():
    model = nn.Sequential(nn.MultiheadAttention(4, 2))
    turn_on_activation_checkpointing(model, ['0'])
    query = torch.randn(3, 1, 4, requires_grad=True)
    _, weights = model[0](query, query, query, need_weights=False)
    assert weights is None
