import torch

from ovkd_mm.positions.graph import ancestors, crossings, sources_first


def test_ancestors_are_all_that_a_tensor_was_computed_from_down_to_where_the_walk_stops():
    x = torch.ones(2, requires_grad=True)
    exp = x.exp()
    total = exp.sin() + exp.cos()
    names = {type(node).__name__ for node in ancestors(total.grad_fn)}
    assert names == {'AddBackward0', 'SinBackward0', 'CosBackward0', 'ExpBackward0', 'AccumulateGrad'}
    stopped = {type(node).__name__ for node in ancestors(total.grad_fn, stop={exp.grad_fn})}
    assert stopped == names - {'AccumulateGrad'}
    assert list(ancestors(None)) == []


def test_an_ancestor_that_several_paths_lead_to_is_met_once():
    x = torch.ones(2, requires_grad=True)
    for _ in range(10):
        x = x.sin() + x.cos()  # 2 ** 10 paths
    nodes = list(ancestors(x.grad_fn))
    assert len(nodes) == len(set(nodes)) == 31


def test_each_node_comes_after_those_that_it_was_computed_from():
    x = torch.ones(2, requires_grad=True)
    exp = x.exp()
    order = sources_first([(exp.sin() * exp + x).grad_fn, exp.cos().grad_fn])
    assert len(order) == len(set(order)) == 6
    for place, node in enumerate(order):
        assert all(order.index(source) < place for source, _ in node.next_functions if source)


def crossed(x, *ends):
    found = crossings(x.view_as(x).grad_fn.next_functions[0][0], [end.grad_fn for end in ends])
    return [type(node).__name__.removesuffix('Backward0') for node in found]


def test_what_every_path_crosses_is_found_and_no_branch_is():
    x, weight = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    stem = x.exp()
    joined = stem.sin() + stem * weight.tanh()
    end = joined.sigmoid()
    assert crossed(x, end) == ['AccumulateGrad', 'Exp', 'Add', 'Sigmoid']
    assert crossed(x, end + x) == ['AccumulateGrad', 'Add']


def test_of_several_ends_what_leads_to_all_of_them_is_crossed():
    x = torch.ones(2, requires_grad=True)
    first = x.exp()
    second = first.sin()
    assert crossed(x, first, second.cos()) == ['AccumulateGrad', 'Exp']
    assert crossed(x, second, second.cos()) == ['AccumulateGrad', 'Exp', 'Sin']


def test_what_makes_several_tensors_is_crossed_by_none_of_them_alone():
    x = torch.ones(4, requires_grad=True)
    one, other = x.exp().chunk(2)
    assert crossed(x, one + other.sin()) == ['AccumulateGrad', 'Exp', 'Add']
    assert crossed(x, one.sin() * 2) == ['AccumulateGrad', 'Exp', 'Split', 'Sin', 'Mul']
    assert crossed(x, torch.ones(2, requires_grad=True) * 2) == []
