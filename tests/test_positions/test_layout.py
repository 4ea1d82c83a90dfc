import pytest
import torch

from ovkd_mm.positions.layout import NCHW, Layout, layout_of


@pytest.mark.parametrize(
    ('shape', 'layout'),
    [
        ((1, 96, 56, 56), NCHW),
        ((1, 56, 56, 96), Layout('NHWC')),
        ((1, 75, 100, 3), NCHW),  # no grid of a square input: nothing is known
        ((1, 196, 64), Layout('tokens', (14, 14))),
        ((1, 197, 768), Layout('tokens', (14, 14), 1)),
        ((1, 201, 384), Layout('tokens', (14, 14), 5)),
        ((1, 49, 768), Layout('tokens', (7, 7))),
        ((64, 49, 96), NCHW),  # the windows of an attention
        ((1, 1000, 96), NCHW),  # queries
        ((1, 768), NCHW),
    ],
)
def test_a_shape_tells_the_layout(shape, layout):
    assert layout_of(shape, (224, 224)) == layout


def test_a_grid_has_the_inputs_proportions():
    assert layout_of((1, 7 * 14, 8), (224, 448)) == Layout('tokens', (7, 14))
    assert layout_of((1, 10, 19, 4), (75, 150)) == Layout('NHWC')
    assert layout_of((1, 4, 10, 19), (75, 150)) == NCHW


def test_where_both_orders_would_do_the_layer_decides():
    assert layout_of((1, 14, 14, 14), (224, 224)) == NCHW
    assert layout_of((1, 14, 14, 14), (224, 224), channels_last=True) == Layout('NHWC')
    assert layout_of((1, 96, 14, 14), (224, 224), channels_last=True) == NCHW


def test_every_layout_is_read_as_the_same_map():
    feature = torch.arange(2 * 3 * 2 * 4).view(2, 3, 2, 4)
    tokens = torch.cat([torch.full((2, 1, 3), -1), feature.flatten(2).transpose(1, 2)], 1)
    assert torch.equal(NCHW.to_nchw(feature), feature)
    assert torch.equal(Layout('NHWC').to_nchw(feature.permute(0, 2, 3, 1)), feature)
    assert torch.equal(Layout('tokens', (2, 4), 1).to_nchw(tokens), feature)


def test_another_number_of_tokens_than_the_traced_one_names_the_setting():
    with pytest.raises(ValueError, match=r'saw 1 \+ 2x4 tokens, the training has 17: set input_shape'):
        Layout('tokens', (2, 4), 1).to_nchw(torch.zeros(1, 17, 3))


def test_layouts_have_names():
    assert [str(one) for one in (NCHW, Layout('NHWC'), Layout('tokens', (2, 4), 1))] == [
        'NCHW',
        'NHWC',
        '1 + 2x4 tokens',
    ]
