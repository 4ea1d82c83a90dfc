import importlib.machinery
import math
from importlib import import_module

import pytest
import torch

from ovkd_mm.compat import deform_conv

mmcv = pytest.importorskip('mmcv')
CUDA = pytest.param('cuda', marks=pytest.mark.cuda)
DEVICES = pytest.mark.parametrize('device', ['cpu', CUDA])
VERSIONS = pytest.mark.parametrize('version', [1, 2])
NAMES = ('input', 'offset', 'weight', 'mask', 'bias')
# kernel, stride, padding, dilation, groups, deform_groups
SETTINGS = {
    'plain': ((3, 3), (1, 1), (1, 1), (1, 1), 1, 1),
    'none of the axes like the other': ((3, 2), (1, 2), (2, 1), (2, 1), 1, 1),
    'strided': ((3, 3), (2, 2), (1, 1), (1, 1), 1, 1),
    'groups': ((2, 2), (1, 1), (0, 0), (1, 1), 2, 1),
    'groups of offsets': ((2, 2), (1, 1), (0, 1), (1, 1), 1, 2),
    'both groups': ((1, 2), (1, 1), (0, 0), (1, 2), 2, 4),
}


@pytest.fixture(autouse=True)
def _through_mmcv(monkeypatch):
    """Let mmcv's autograd functions call ours, whether there are compiled ones or not."""
    use(deform_conv, monkeypatch)


def use(ext, monkeypatch):
    for name in ('deform_conv', 'modulated_deform_conv'):
        monkeypatch.setattr(import_module(f'mmcv.ops.{name}'), 'ext_module', ext)


def output_size(size, kernel, stride, padding, dilation):
    return [(size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in (0, 1)]


def operands(setting, version, spread=2.0, batch=2, dtype=torch.float64, device='cpu'):
    kernel, *geometry, groups, deform_groups = setting
    height, width = output_size((5, 6), kernel, *geometry)
    points = deform_groups * kernel[0] * kernel[1]
    values = dict(
        input=torch.randn(batch, 4, 5, 6, dtype=torch.float64),
        offset=spread * torch.randn(batch, 2 * points, height, width, dtype=torch.float64),
        weight=torch.randn(6, 4 // groups, *kernel, dtype=torch.float64),
        mask=torch.rand(batch, points, height, width, dtype=torch.float64),
        bias=torch.randn(6, dtype=torch.float64),
    )
    return {
        name: value.to(device, dtype).requires_grad_()
        for name, value in values.items()
        if version == 2 or name in NAMES[:3]
    }


def convolve(given, setting, **more):
    ops, (_, *geometry) = import_module('mmcv.ops'), setting
    if 'mask' in given:
        order = (given['input'], given['offset'], given['mask'], given['weight'], given.get('bias'))
        return ops.modulated_deform_conv2d(*order, *geometry)
    return ops.deform_conv2d(given['input'], given['offset'], given['weight'], *geometry, *more.values())


def value_at(feature, y, x):
    """Bilinear interpolation of a map (C, H, W), which is 0 beyond its edges; differentiable by the place, too."""
    height, width = feature.shape[1:]
    result = feature.new_zeros(len(feature))
    if not (-1 < y < height and -1 < x < width):
        return result
    top, left = (math.floor(place.item()) for place in (y, x))
    for row, of_row in ((top, top + 1 - y), (top + 1, y - top)):
        for column, of_column in ((left, left + 1 - x), (left + 1, x - left)):
            if 0 <= row < height and 0 <= column < width:
                result = result + of_row * of_column * feature[:, row, column]
    return result


def naive(given, setting):
    kernel, stride, padding, dilation, groups, deform_groups = setting
    feature, offset, weight = (given[name] for name in NAMES[:3])
    height, width = output_size(feature.shape[2:], kernel, stride, padding, dilation)
    images = []
    for image in range(len(feature)):
        read = []  # what each point of the kernel reads, for each group of offsets
        for group, channels in enumerate(feature[image].chunk(deform_groups)):
            for point in range(kernel[0] * kernel[1]):
                i, j = divmod(point, kernel[1])
                index = group * kernel[0] * kernel[1] + point
                for h in range(height):
                    for w in range(width):
                        y = h * stride[0] - padding[0] + i * dilation[0] + offset[image, 2 * index, h, w]
                        x = w * stride[1] - padding[1] + j * dilation[1] + offset[image, 2 * index + 1, h, w]
                        value = value_at(channels, y, x)
                        read.append(value * given['mask'][image, index, h, w] if 'mask' in given else value)
        read = torch.stack(read).view(deform_groups, *kernel, height, width, -1)
        read = read.permute(0, 5, 1, 2, 3, 4).flatten(0, 1)  # channels, kernel, output
        parts = zip(read.chunk(groups), weight.chunk(groups), strict=True)
        result = torch.cat([torch.einsum('cijhw,dcij->dhw', *part) for part in parts])
        images.append(result + given['bias'][:, None, None] if 'bias' in given else result)
    return torch.stack(images)


def check(setting, given, **tolerance):
    """The result and all gradients, at random weights of the output."""
    wide = {name: value.detach().double().cpu().requires_grad_() for name, value in given.items()}
    result, expected = convolve(given, setting), naive(wide, setting)
    torch.testing.assert_close(result.double().cpu(), expected, **tolerance)
    weights = torch.randn_like(expected).to(result)
    (result * weights).sum().backward()
    (expected * weights.double().cpu()).sum().backward()
    for name in given:
        assert wide[name].grad.abs().sum() > 0.1
        torch.testing.assert_close(given[name].grad.double().cpu(), wide[name].grad, **tolerance, msg=name)


@DEVICES
@VERSIONS
@pytest.mark.parametrize('setting', SETTINGS)
def test_the_kernel_reads_at_its_places_plus_the_offsets(setting, version, device):
    setting = SETTINGS[setting]
    check(setting, operands(setting, version, device=device))
    check(setting, operands(setting, version, dtype=torch.float32, device=device), atol=1e-4, rtol=1e-4)


@DEVICES
@VERSIONS
@pytest.mark.parametrize('setting', SETTINGS)
def test_offsets_at_which_a_training_starts_have_the_gradient_of_mmcv(setting, version, device):
    """Offsets of 0 read at the pixels, where the slope jumps."""
    setting = SETTINGS[setting]
    check(setting, operands(setting, version, spread=0.0, device=device))


@VERSIONS
def test_a_convolution_with_offsets_of_0_is_an_ordinary_one(version):
    setting = SETTINGS['none of the axes like the other']
    given = operands(setting, version, spread=0.0)
    if version == 2:
        given['mask'] = torch.ones_like(given['mask'])
    ordinary = torch.nn.functional.conv2d(given['input'], given['weight'], given.get('bias'), *setting[1:5])
    torch.testing.assert_close(convolve(given, setting), ordinary)


def test_a_bias_can_be_left_out():
    setting = SETTINGS['plain']
    given = operands(setting, 2)
    del given['bias']
    check(setting, given)


def test_the_number_of_images_at_a_time_does_not_matter():
    setting, results = SETTINGS['plain'], []
    given = operands(setting, 1, batch=4)
    for step in (1, 2, 32):
        result = convolve(given, setting, bias=False, im2col_step=step)
        results.append([result, *torch.autograd.grad(result.square().sum(), list(given.values()))])
    for one, two, all_ in zip(*results, strict=True):
        torch.testing.assert_close(one, two)
        torch.testing.assert_close(one, all_)


def test_each_part_can_be_frozen_and_a_graph_used_twice():
    setting = SETTINGS['plain']
    given = operands(setting, 1)
    weights = torch.randn_like(convolve(given, setting))
    (convolve(given, setting) * weights).sum().backward()
    expected = {name: value.grad for name, value in given.items()}
    for learned in ({'weight'}, {'input'}, {'offset'}, {'offset', 'weight'}, {'input', 'offset', 'weight'}):
        for name, value in given.items():
            value.grad = None
            value.requires_grad_(name in learned)
        result = convolve(given, setting)
        for scale in (1, 2):
            (result * weights * scale).sum().backward(retain_graph=True)
        for name, value in given.items():
            if name in learned:
                torch.testing.assert_close(value.grad, 3 * expected[name])
            else:
                assert value.grad is None


@DEVICES
@VERSIONS
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype, version, device):
    setting = SETTINGS['plain']
    given = operands(setting, version, dtype=dtype, device=device)
    wide = {name: value.detach().float().requires_grad_() for name, value in given.items()}
    result, expected = convolve(given, setting), convolve(wide, setting)
    torch.testing.assert_close(result, expected.to(dtype), atol=0, rtol=0)
    result.sum().backward()
    expected.sum().backward()
    for name in given:
        torch.testing.assert_close(given[name].grad, wide[name].grad.to(dtype), msg=name)


@DEVICES
@VERSIONS
def test_autocast_leaves_the_operators_in_float32(version, device):
    setting = SETTINGS['plain']
    given = operands(setting, version, dtype=torch.float32, device=device)
    results = []
    for enabled in (False, True):
        with torch.autocast(device, dtype=torch.bfloat16, enabled=enabled):
            result = convolve(given, setting)
            results.append([result, *torch.autograd.grad(result.sum(), list(given.values()))])
    for plain, cast in zip(*results, strict=True):
        torch.testing.assert_close(cast, plain)


@VERSIONS
def test_strides_do_not_matter(version):
    setting, results = SETTINGS['both groups'], []
    given = operands(setting, version)
    turned = {name: value.detach().transpose(0, -1).contiguous().transpose(0, -1) for name, value in given.items()}
    turned = {name: value.requires_grad_() for name, value in turned.items()}
    for values in (given, turned):
        result = convolve(values, setting)
        results.append([result, *torch.autograd.grad(result.transpose(2, 3).square().sum(), list(values.values()))])
    for plain, other in zip(*results, strict=True):
        torch.testing.assert_close(other, plain)


@DEVICES
def test_of_a_larger_offset_and_mask_the_first_numbers_are_read(device):
    """The compiled operator looks at their memory alone."""
    setting = SETTINGS['plain']
    given = operands(setting, 2, device=device)
    large = dict(given)
    for name in ('offset', 'mask'):
        values = torch.randn(2, given[name].size(1), 10, 13, dtype=torch.float64, device=device)
        count = given[name][0].numel()
        values.view(2, -1)[:, :count] = given[name].detach().view(2, -1)
        large[name] = values.requires_grad_()
    results = []
    for values in (given, large):
        result = convolve(values, setting)
        results.append([result, *torch.autograd.grad(result.square().sum(), list(values.values()))])
    for name, plain, other in zip(('result', *NAMES), *results, strict=True):
        if name in ('offset', 'mask'):
            flat, count = other.flatten(1), plain[0].numel()
            torch.testing.assert_close(flat[:, :count], plain.flatten(1), msg=name)
            assert not flat[:, count:].any()
        else:
            torch.testing.assert_close(other, plain, msg=name)


@pytest.mark.parametrize('name', ['offset', 'mask'])
def test_a_smaller_offset_or_mask_is_refused(name):
    given = operands(SETTINGS['plain'], 2)
    given[name] = given[name][:, :, :4]
    with pytest.raises(ValueError, match='given an offset or a mask of 4 x 6 for an output of 5 x 6'):
        convolve(given, SETTINGS['plain'])


@pytest.mark.filterwarnings('ignore:In MMCV v1.4.4, we modified the default')
def test_the_neck_that_passes_a_larger_offset_trains():
    necks = pytest.importorskip('mmdet.models.necks')
    neck = necks.DyHead(8, 16, num_blocks=1, zero_init_offset=False)
    inputs = [torch.randn(2, 8, size, size, requires_grad=True) for size in (25, 13, 7)]
    outputs = neck(inputs)
    assert [tuple(output.shape) for output in outputs] == [(2, 16, size, size) for size in (25, 13, 7)]
    sum(output.square().mean() for output in outputs).backward()
    for values in [*inputs, *neck.parameters()]:
        assert values.grad.isfinite().all()
    block = neck.dyhead_blocks[0]
    for module in (block.spatial_conv_offset, block.spatial_conv_high.conv, block.spatial_conv_low.conv):
        assert module.weight.grad.any()


@VERSIONS
def test_a_layer_learns_and_its_offsets_move(version):
    ops = import_module('mmcv.ops')
    layer = (ops.DeformConv2dPack, ops.ModulatedDeformConv2dPack)[version - 1](3, 4, 3, padding=1, deform_groups=3)
    inputs, target = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 8, 8)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.05)
    losses = []
    for _ in range(10):
        loss = (layer(inputs) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert layer.conv_offset.weight.any()
    assert layer.conv_offset.bias.any()


def test_a_switchable_convolution_with_offsets_of_its_own_trains():
    layer = import_module('mmcv.ops').SAConv2d(3, 5, 3, padding=1, stride=2, use_deform=True)
    result = layer(torch.randn(2, 3, 12, 12))
    assert result.shape == (2, 5, 6, 6)
    result.square().mean().backward()
    for name in ('weight', 'weight_diff', 'offset_s.weight', 'switch.weight'):
        assert layer.get_parameter(name).grad.isfinite().all(), name
    assert layer.offset_s.weight.grad.any()


# Cases and results of mmcv's own tests (Apache-2.0, https://github.com/open-mmlab/mmcv,
# tests/test_ops/test_deform_conv.py and test_modulated_deform_conv.py).
OF_V1 = dict(
    input=[[1.0, 2, 3], [0, 1, 2], [3, 5, 2]],
    output=[[1.650, 0], [0, 0]],
    input_grad=[[-0.666, 0.204, 0.000], [0.030, -0.416, 0.012], [0.000, 0.252, 0.129]],
    weight=[[0.4, 0.2], [0.1, 0.9]],
    weight_grad=[[3.62, 0], [0.40, 0.18]],
    offset_weight=[
        [[0.1, 0.4], [0.6, 0.1]],
        [[0.3, 0.2], [0.1, 0.3]],
        [[0.5, 0.5], [0.2, 0.8]],
        [[0.8, 0.3], [0.9, 0.1]],
        [[0.3, 0.1], [0.2, 0.5]],
        [[0.3, 0.7], [0.5, 0.3]],
        [[0.6, 0.2], [0.5, 0.3]],
        [[0.4, 0.1], [0.8, 0.4]],
    ],
    offset_weight_grad=[
        [[1.44, 2.88], [0, 1.44]],
        [[-0.72, -1.44], [0, -0.72]],
        [[0, 0], [0, 0]],
        [[0, 0], [0, 0]],
        [[-0.10, -0.20], [0, -0.10]],
        [[-0.08, -0.16], [0, -0.08]],
        [[-0.54, -1.08], [0, -0.54]],
        [[-0.54, -1.08], [0, -0.54]],
    ],
    offset_bias=[0.7, 0.1, 0.8, 0.5, 0.6, 0.5, 0.4, 0.7],
    offset_bias_grad=[1.44, -0.72, 0, 0, -0.10, -0.08, -0.54, -0.54],
)
OF_V2 = dict(
    input=[[1.0, 2, 3], [1, 2, 3], [1, 2, 3]],
    output=[[0.5, 1.5, 2.5, 1.5], [1.0, 3.0, 5.0, 3.0], [1.0, 3.0, 5.0, 3.0], [0.5, 1.5, 2.5, 1.5]],
    input_grad=[[2.0, 2, 2], [2, 2, 2], [2, 2, 2]],
    weight=[[1.0, 1], [1, 1]],
    weight_grad=[[9.0, 9], [9, 9]],
    offset_weight=[[[0.0, 0], [0, 0]]] * 12,
    offset_weight_grad=[
        [[-7.0, -4.0], [0.0, 0.0]],
        [[-9.0, 7.5], [-6.0, 5.0]],
        [[-4.0, -7.0], [0.0, 0.0]],
        [[-7.5, -9.0], [-5.0, -6.0]],
        [[-7.0, -4.0], [-7.0, -4.0]],
        [[-6.0, 5.0], [-9.0, 7.5]],
        [[-4.0, -7.0], [-4.0, -7.0]],
        [[-5.0, -6.0], [-7.5, -9.0]],
        [[10.5, 6.0], [7.0, 4.0]],
        [[6.0, 10.5], [4.0, 7.0]],
        [[7.0, 4.0], [10.5, 6.0]],
        [[4.0, 7.0], [6.0, 10.5]],
    ],
    offset_bias=[0.0] * 12,
    offset_bias_grad=[-3.0, -1.5, -3.0, -1.5, -3.0, -1.5, -3.0, -1.5, 4.5, 4.5, 4.5, 4.5],
)


@DEVICES
@VERSIONS
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_results_are_those_that_mmcv_publishes(dtype, version, device):
    ops = import_module('mmcv.ops')
    if version == 1:
        layer, case = ops.DeformConv2dPack(1, 1, 2), OF_V1
    else:
        layer, case = ops.ModulatedDeformConv2dPack(1, 1, 2, padding=1, bias=False), OF_V2
    values = {name: torch.tensor(numbers, dtype=dtype, device=device) for name, numbers in case.items()}
    layer.to(device, dtype)
    parts = dict(weight=layer.weight, offset_weight=layer.conv_offset.weight, offset_bias=layer.conv_offset.bias)
    for name, parameter in parts.items():
        parameter.data = values[name].view_as(parameter)
    parts['input'] = values['input'][None, None].requires_grad_()
    with torch.backends.cudnn.flags(enabled=False):  # which would round the offsets to TF32
        result = layer(parts['input'])
        result.sum().backward()
    torch.testing.assert_close(result[0, 0], values['output'], atol=1e-6, rtol=1e-3)
    for name, part in parts.items():
        torch.testing.assert_close(part.grad, values[name + '_grad'].view_as(part), atol=1e-6, rtol=1e-3, msg=name)


@DEVICES
@VERSIONS
@pytest.mark.parametrize('spread', [0.0, 2.0])
@pytest.mark.parametrize('setting', SETTINGS)
def test_results_equal_those_of_the_compiled_operators(setting, spread, version, device, monkeypatch):
    if importlib.machinery.PathFinder.find_spec('mmcv._ext', mmcv.__path__) is None:
        pytest.skip('mmcv-lite has no compiled operators to compare with')
    setting, results = SETTINGS[setting], []
    given = operands(setting, version, spread, device=device)
    for ext in (deform_conv, import_module('mmcv._ext')):
        use(ext, monkeypatch)
        result = convolve(given, setting)
        results.append([result, *torch.autograd.grad(result.square().sum(), list(given.values()))])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)
