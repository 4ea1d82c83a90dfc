import torch

from ovkd_mm.positions.graph import ancestors, depth


def test_ancestors_are_all_that_a_tensor_was_computed_from_down_to_where_the_walk_stops():
    x = torch.ones(2, requires_grad=True)
    exp = x.exp()
    total = exp.sin() + exp.cos()
    names = {type(node).__name__ for node in ancestors(total.grad_fn)}
    assert names == {'AddBackward0', 'SinBackward0', 'CosBackward0', 'ExpBackward0', 'AccumulateGrad'}
    stopped = {type(node).__name__ for node in ancestors(total.grad_fn, stop={exp.grad_fn})}
    assert stopped == names - {'AccumulateGrad'}
    assert list(ancestors(None)) == []


def test_depth_is_the_longest_path_also_through_thousands_of_nodes():
    x = torch.ones(2, requires_grad=True)
    deep = x
    for _ in range(3000):
        deep = deep + 1
    known = {}
    assert depth((x * 2 + deep).grad_fn, known) == 3002
    assert known[deep.grad_fn] == 3001


def test_an_ancestor_that_several_paths_lead_to_is_met_once():
    x = torch.ones(2, requires_grad=True)
    for _ in range(10):
        x = x.sin() + x.cos()  # 2 ** 10 paths
    nodes = list(ancestors(x.grad_fn))
    assert len(nodes) == len(set(nodes)) == 31
