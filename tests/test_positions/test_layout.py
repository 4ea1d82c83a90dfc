import pytest
import torch

from ovkd_mm.positions.layout import NCHW, Layout, layout_of


@pytest.mark.parametrize(
    ('shape', 'layout'),
    [
        ((1, 96, 56, 56), NCHW),
        ((1, 56, 56, 96), Layout('NHWC')),
        ((1, 75, 100, 3), NCHW),  # no grid of a square input: nothing is known
        ((1, 196, 64), Layout('tokens', (14, 14), 0, (224, 224))),
        ((1, 197, 768), Layout('tokens', (14, 14), 1, (224, 224))),
        ((1, 201, 384), Layout('tokens', (14, 14), 5, (224, 224))),
        ((1, 49, 768), Layout('tokens', (7, 7), 0, (224, 224))),
        ((64, 49, 96), NCHW),  # the windows of an attention
        ((1, 1000, 96), NCHW),  # queries
        ((1, 768), NCHW),
    ],
)
def test_a_shape_tells_the_layout(shape, layout):
    assert layout_of(shape, (224, 224)) == layout


def test_a_grid_has_the_inputs_proportions():
    assert layout_of((1, 7 * 14, 8), (224, 448)) == Layout('tokens', (7, 14), 0, (224, 448))
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
    assert torch.equal(Layout('tokens', (2, 4), 1, (32, 64)).to_nchw(tokens), feature)


@pytest.mark.parametrize('size', [(4, 2), (2, 4), (3, 5), (5, 3), (8, 8)])
def test_tokens_of_another_input_have_the_grid_that_the_traced_stride_makes_of_it(size):
    layout = layout_of((1, 1 + 6 * 8, 3), (96, 128))
    height, width = size
    feature = torch.arange(2 * 3 * height * width).view(2, 3, height, width)
    tokens = torch.cat([torch.full((2, 1, 3), -1), feature.flatten(2).transpose(1, 2)], 1)
    assert torch.equal(layout.to_nchw(tokens, (16 * height, 16 * width)), feature)
    assert torch.equal(layout.to_nchw(tokens, torch.Size([16 * height + 3, 16 * width + 3])), feature)


def test_another_number_of_tokens_than_the_inputs_give_is_refused():
    layout = Layout('tokens', (2, 4), 1, (32, 64))
    for size in (None, (32, 64)):
        with pytest.raises(ValueError, match=r'saw 1 \+ 2x4 tokens, the training has 17: choose .* or set input_shape'):
            layout.to_nchw(torch.zeros(1, 17, 3), size)
    with pytest.raises(ValueError, match='the training has 9 from inputs of 48x64 instead of 32x64: choose'):
        layout.to_nchw(torch.zeros(1, 9, 3), (48, 64))


def test_a_quarter_of_the_tokens_is_no_coarser_grid():
    layout = layout_of((1, 197, 3), (224, 224))
    with pytest.raises(ValueError, match='the training has 50'):
        layout.to_nchw(torch.zeros(1, 50, 3), (224, 224))
    with pytest.raises(ValueError, match='the training has 50'):
        layout.to_nchw(torch.zeros(1, 50, 3), (224, 208))


def test_layouts_have_names():
    assert [str(one) for one in (NCHW, Layout('NHWC'), Layout('tokens', (2, 4), 1))] == [
        'NCHW',
        'NHWC',
        '1 + 2x4 tokens',
    ]
