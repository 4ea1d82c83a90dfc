import subprocess
import sys

import pytest
import torch
from deeplab_by_hand import DeepLabByHand
from mmengine.registry import MODELS
from torch import nn
from torch.nn import functional as F  # noqa: N812

from ovkd_mm.models import deeplabv3plus_head

HEAD = dict(
    type='ovkd_mm.DeepLabV3PlusHead',
    in_channels=12,
    c1_in_channels=5,
    channels=8,
    num_classes=3,
    norm_cfg=dict(type='BN'),
    align_corners=True,
)
SCRIPT = f"""
import sys
from mmengine.registry import MODELS
assert MODELS.get('ovkd_mm.DeepLabV3PlusHead') is not None
print([name for name in ('mmcv', 'mmdet', 'mmseg', 'mmpretrain') if name in sys.modules])
print([cls.__module__ for cls in type(MODELS.build({HEAD!r})).mro()][:2])
"""


@pytest.fixture
def head():
    return MODELS.build(HEAD)


@pytest.fixture
def inputs():
    """A low-level and a deep feature, with one between that the head does not read."""
    return [torch.randn(2, 5, 21, 17), torch.randn(2, 1, 1, 1), torch.randn(2, 12, 6, 5)]


def test_the_name_alone_finds_it_and_mmseg_is_imported_only_when_it_is_built():
    run = subprocess.run([sys.executable, '-c', SCRIPT], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    imported, modules = run.stdout.splitlines()[-2:]
    assert imported == '[]'
    assert modules == "['ovkd_mm.models.deeplabv3plus_head', 'mmseg.models.decode_heads.aspp_head']"


def test_the_forward_is_that_of_the_formula(head, inputs):
    head.double()
    inputs = [x.double() for x in inputs]
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    for module in head.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    by_hand = DeepLabByHand({f'decode_head.{name}': value for name, value in head.state_dict().items()})
    expected = by_hand.head(inputs[0], inputs[2])
    torch.testing.assert_close(head(inputs), expected)
    assert expected.shape == (2, 3, 21, 17)


def test_dropout_takes_single_values_after_the_aspp_between_the_decoders_convolutions_and_before_the_classifier(
    head, inputs, monkeypatch
):
    calls = []

    def dropout(x, p, training, inplace):
        calls.append((p, training, tuple(x.shape)))
        return x

    monkeypatch.setattr(F, 'dropout', dropout)
    for training in (True, False):
        head.train(training)(inputs)
    sizes = [(0.5, (2, 8, 6, 5)), (0.5, (2, 8, 21, 17)), (0.1, (2, 8, 21, 17))]
    assert calls == [(p, training, shape) for training in (True, False) for p, shape in sizes]


def test_all_convolutions_are_plain_and_only_the_classifier_has_a_bias(head):
    convs = {name: module for name, module in head.named_modules() if isinstance(module, nn.Conv2d)}
    assert len(convs) == 1 + 4 + 1 + 1 + 2 + 1
    assert {conv.groups for conv in convs.values()} == {1}
    assert [name for name, conv in convs.items() if conv.bias is not None] == ['conv_seg']
    assert [convs[f'aspp_modules.{index}.conv'].dilation[0] for index in range(4)] == [1, 6, 12, 18]


def test_every_weight_gets_a_gradient(head, inputs):
    head(inputs).square().sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize('align_corners', [True, False])
def test_the_aspps_feature_is_resized_as_the_config_says(inputs, monkeypatch, align_corners):
    asked = []
    resize = deeplabv3plus_head.resize
    monkeypatch.setattr(
        deeplabv3plus_head,
        'resize',
        lambda *args, **kwargs: asked.append(kwargs['align_corners']) or resize(*args, **kwargs),
    )
    MODELS.build(HEAD | dict(align_corners=align_corners))(inputs)
    assert asked == [align_corners]
