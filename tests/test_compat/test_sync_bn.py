import copy
import importlib.machinery

import mmcv
import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.model import revert_sync_batchnorm

lite = pytest.mark.skipif(
    importlib.machinery.PathFinder.find_spec('mmcv._ext', mmcv.__path__) is not None,
    reason='this mmcv has compiled operators',
)


def built(norm):
    import mmcv.ops  # noqa: F401

    torch.manual_seed(0)
    return ConvModule(3, 4, 3, norm_cfg=dict(type=norm, requires_grad=True))


@lite
def test_mmcvs_synchronized_batch_norm_trains_as_a_batch_norm_in_one_process():
    found, plain = built('MMSyncBN'), built('BN')
    assert list(found.state_dict()) == list(plain.state_dict())
    image = torch.randn(2, 3, 8, 8)
    want = plain(image)
    for one in (copy.deepcopy(found), revert_sync_batchnorm(found)):
        assert torch.equal(one.train()(image), want)
    assert type(revert_sync_batchnorm(found).bn) is not type(built('MMSyncBN').bn)


@lite
def test_it_takes_a_batch_of_nothing():
    found = built('MMSyncBN')
    out = found(torch.zeros(0, 3, 8, 8))
    out.sum().backward()
    assert out.shape == (0, 4, 6, 6) and not found.conv.weight.grad.any()
