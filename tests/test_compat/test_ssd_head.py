import subprocess
import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from ovkd_mm.compat.ssd_head import patch


def patched_head() -> type:
    """A head with the fault of mmdet's: it never sets ``loss_cls``."""
    module = ModuleType('ssd_head')
    module.SSDHead = type('SSDHead', (nn.Module,), {})
    patch(module)
    return module.SSDHead


def test_a_loss_that_the_head_does_not_have_is_none():
    head = patched_head()()
    assert head.loss_cls is None
    assert 'loss_cls' not in head.state_dict()
    assert list(head.children()) == []


def test_a_loss_that_the_head_sets_wins():
    head = patched_head()()
    loss = head.loss_cls = nn.CrossEntropyLoss()
    assert head.loss_cls is loss
    assert list(head.children()) == [loss]
    head = patched_head()()
    head.loss_cls = 'no module'
    assert head.loss_cls == 'no module'


def test_a_subclass_with_a_loss_of_its_own_wins():
    class Fixed(patched_head()):
        loss_cls = property(lambda self: 'fixed')

    assert Fixed().loss_cls == 'fixed'


def test_other_missing_attributes_are_still_errors():
    with pytest.raises(AttributeError, match='loss_box'):
        patched_head()().loss_box  # noqa: B018


def test_parameters_and_submodules_are_found():
    head = patched_head()()
    head.conv = nn.Conv2d(1, 1, 1)
    head.scale = nn.Parameter(torch.ones(1))
    assert isinstance(head.conv, nn.Conv2d)
    assert isinstance(head.scale, nn.Parameter)


def test_mending_twice_changes_nothing():
    module = ModuleType('ssd_head')
    module.SSDHead = type('SSDHead', (nn.Module,), {})
    patch(module)
    once = module.SSDHead.__getattr__
    patch(module)
    assert module.SSDHead.__getattr__ is once


def test_a_module_without_the_head_is_left_alone():
    module = ModuleType('ssd_head')
    patch(module)
    assert not hasattr(module, 'SSDHead')


def test_the_ssd_of_mmdet_predicts():
    pytest.importorskip('mmdet')
    from mmdet.models.dense_heads import SSDHead
    from mmengine.config import ConfigDict
    from mmengine.registry import DefaultScope

    anchors = dict(
        type='SSDAnchorGenerator',
        scale_major=False,
        input_size=300,
        basesize_ratio_range=(0.15, 0.9),
        strides=[8, 16, 32, 64, 100, 300],
        ratios=[[2], [2, 3], [2, 3], [2, 3], [2], [2]],
    )
    test_cfg = ConfigDict(
        nms_pre=50, nms=dict(type='nms', iou_threshold=0.45), min_bbox_size=0, score_thr=0.02, max_per_img=20
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = SSDHead(num_classes=3, in_channels=(4,) * 6, anchor_generator=anchors, test_cfg=test_cfg).eval()
    features = tuple(torch.randn(1, 4, size, size) for size in (4, 2, 2, 1, 1, 1))
    meta = dict(img_shape=(300, 300), scale_factor=(1.0, 1.0))
    with torch.no_grad():
        (result,) = head.predict_by_feat(*head(features), batch_img_metas=[meta])
    assert 0 < len(result) <= 20
    assert result.bboxes.shape == (len(result), 4)
    # Softmax over the classes and the background, so no score is above 1, and NMS sorts them.
    assert torch.equal(result.scores, result.scores.sort(descending=True).values)
    assert 0.02 < result.scores.min() <= result.scores.max() < 1


@pytest.mark.parametrize('order', ['{head}, ovkd_mm', 'ovkd_mm, {head}'])
def test_the_order_of_imports_does_not_matter(order, tmp_path):
    folder = tmp_path
    for name in ('mmdet', 'models', 'dense_heads'):
        folder = folder / name
        folder.mkdir()
        (folder / '__init__.py').touch()
    (folder / 'ssd_head.py').write_text(
        'class Module:\n'
        '    def __getattr__(self, name):\n'
        '        raise AttributeError(name)\n'
        'class SSDHead(Module):\n'
        '    pass\n'
    )
    head = 'mmdet.models.dense_heads.ssd_head'
    code = f'import sys; sys.path.insert(0, {str(tmp_path)!r}); import {order.format(head=head)}\n'
    code += f'print({head}.SSDHead().loss_cls)'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.stdout == 'None\n', result.stderr
