import pkgutil
import subprocess
import sys
from importlib import import_module
from types import ModuleType

import numpy as np
import pytest
import torch

from ovkd_mm.compat import removed_names


@pytest.mark.parametrize('name', removed_names.REMOVED)
def test_a_module_has_the_name_and_everything_else_of_the_package(name):
    module = import_module(name)
    alias, removed, answer = removed_names.REMOVED[name]
    view = getattr(module, alias, None)
    if view is None:
        pytest.skip(f'this {name} does not import {alias}')
    package = sys.modules[view.__name__]
    assert view is not package
    assert getattr(view, removed) is answer
    others = [other for other in package.__all__ if other != removed]
    assert others
    assert all(getattr(view, other) is getattr(package, other) for other in others)
    with pytest.raises(AttributeError, match='no_such_name'):
        view.no_such_name  # noqa: B018
    removed_names.patch(module)
    assert getattr(module, alias) is view


def test_a_module_that_does_not_import_the_package_is_left_alone():
    module = ModuleType('mmcv.utils.ext_loader')
    removed_names.patch(module)
    assert not hasattr(module, 'pkgutil')


def test_a_change_of_the_package_shows_in_the_view(monkeypatch):
    module = ModuleType('mmcv.utils.ext_loader')
    module.pkgutil = pkgutil
    removed_names.patch(module)
    monkeypatch.setattr(pkgutil, 'walk_packages', 'changed')
    assert module.pkgutil.walk_packages == 'changed'


def test_the_packages_themselves_are_as_before():
    code = """
import pkgutil, numpy
before = dict(vars(pkgutil)), dict(vars(numpy))
import ovkd_mm
import mmcv.utils.ext_loader, mmengine.utils.dl_utils.misc
import mmdet.evaluation.functional.ytviseval, mmpretrain.evaluation.metrics.retrieval
for module, names in zip((pkgutil, numpy), before):
    print([name for name in ('find_loader', 'in1d', 'float') if vars(module).get(name) is not names.get(name)])
"""
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.stdout.splitlines()[-2:] == ['[]', '[]'], result.stderr


def test_the_operators_of_mmcv_are_found_as_its_modules_are():
    from mmcv.utils.ext_loader import check_ops_exist
    from mmengine.utils.dl_utils import mmcv_full_available

    assert check_ops_exist() is True  # compat.mmcv_ops answers for them
    assert mmcv_full_available() is True


@pytest.mark.filterwarnings('ignore:__array__ implementation:DeprecationWarning')  # of a tensor that is made an array
def test_retrieval_is_evaluated():
    """AP is (1/1 + 2/3) / 2 where the first and the third of three are right."""
    from mmpretrain.evaluation import RetrievalAveragePrecision, RetrievalRecall

    order, right = [torch.tensor([3, 1, 2])], [torch.tensor([3, 2])]
    found = RetrievalAveragePrecision.calculate(order, right, topk=3, pred_indices=True, target_indices=True)
    assert found == pytest.approx(100 * (1 + 2 / 3) / 2, rel=1e-6)
    last = [torch.tensor([2])]
    recalls = RetrievalRecall.calculate(order, last, topk=(1, 3), pred_indices=True, target_indices=True)
    assert [float(recall) for recall in recalls] == [0, 100]


def test_membership_is_flat_as_in1d_was():
    in1d = removed_names.REMOVED['mmpretrain.evaluation.metrics.retrieval'][2]
    found = in1d([[1, 2], [3, 1]], [[1], [5]])
    assert found.tolist() == [True, False, False, True]
    assert found.dtype == np.bool_


# What Python 3.14 and setuptools 82 have no longer, taken away from those that run the tests.
WITHOUT = """
import pkgutil, sys

vars(pkgutil).pop('find_loader', None)
sys.modules['pkg_resources'] = None  # its import fails
"""


def test_the_toolkits_train_without_the_names():
    code = """
import ovkd_mm, torch
import mmdet.models, mmseg.models, mmpretrain.models
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope

steps = []
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=1e-4), paramwise_cfg=dict(norm_decay_mult=0.0))
for name in ('mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
             'mmseg::fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py',
             'mmpretrain::resnet/resnet18_8xb16_cifar10.py'):
    config = Config.fromstring(f'_base_ = {name!r}', '.py').model
    config.backbone.init_cfg = None  # no download
    with DefaultScope.overwrite_default_scope(name.partition(':')[0]):
        backbone = MODELS.build(config).backbone
        optimizer = build_optim_wrapper(backbone, optim_wrapper)  # which asks for the operators of mmcv
    before = [parameter.detach().clone() for parameter in backbone.parameters()]
    optimizer.update_params(sum(output.mean() for output in backbone(torch.rand(2, 3, 64, 64))))
    steps.append(any(not torch.equal(new, old) for new, old in zip(backbone.parameters(), before)))
print(*steps)
"""
    result = subprocess.run([sys.executable, '-c', WITHOUT + code], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1:] == ['True True True'], result.stderr
