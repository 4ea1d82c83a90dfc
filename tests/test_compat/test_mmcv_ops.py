import importlib.machinery
import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch

from ovkd_mm.compat import mmcv_ops

mmcv = pytest.importorskip('mmcv')
lite = pytest.mark.skipif(
    importlib.machinery.PathFinder.find_spec('mmcv._ext', mmcv.__path__) is not None,
    reason='this mmcv has compiled operators',
)

BOXES = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30], [20, 20, 30, 29]])
SCORES = torch.tensor([0.9, 0.8, 0.6, 0.7])


def run(code: str, *path: str) -> subprocess.CompletedProcess:
    code = f'import sys; sys.path[:0] = {list(path)!r}\n{code}'
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)


def test_the_finder_stands_last_and_only_once():
    mmcv_ops.install()
    finders = [finder for finder in sys.meta_path if type(finder).__module__ == mmcv_ops.__name__]
    assert len(finders) == 1
    if sys.meta_path[-1] is not finders[0]:  # another library may have appended its own since
        assert sys.meta_path.index(finders[0]) > sys.meta_path.index(importlib.machinery.PathFinder)


def test_the_finder_answers_for_nothing_but_the_ext():
    (finder,) = [finder for finder in sys.meta_path if type(finder).__module__ == mmcv_ops.__name__]
    spec = finder.find_spec('mmcv._ext', None)
    assert (spec.name, spec.loader, spec.origin) == ('mmcv._ext', finder, mmcv_ops.__name__)
    for name in ('mmcv._ext2', 'mmcv', '_ext', 'mmcv._ext.sub', 'other._ext'):
        assert finder.find_spec(name, None) is None


def test_an_ext_that_is_there_is_taken(tmp_path):
    package = tmp_path / 'mmcv'
    package.mkdir()
    (package / '__init__.py').touch()
    (package / '_ext.py').write_text('nms = "the compiled one"\n')
    result = run('import ovkd_mm, mmcv._ext; print(mmcv._ext.nms)', str(tmp_path))
    assert result.stdout == 'the compiled one\n', result.stderr


def test_an_ext_that_cannot_be_loaded_says_why(tmp_path):
    package = tmp_path / 'mmcv'
    package.mkdir()
    (package / '__init__.py').touch()
    (package / '_ext.py').write_text('raise ImportError("undefined symbol")\n')
    result = run('import ovkd_mm, mmcv._ext', str(tmp_path))
    assert result.returncode != 0
    assert 'undefined symbol' in result.stderr


@lite
def test_the_ext_is_a_module_like_others():
    ext = importlib.import_module('mmcv._ext')
    assert ext.__name__ == ext.__spec__.name == 'mmcv._ext'
    assert importlib.util.find_spec('mmcv._ext') is not None
    assert hasattr(ext, 'roi_align_forward')
    assert not hasattr(ext, '__path__')
    assert not hasattr(ext, '__file__')
    with pytest.raises(AttributeError, match=r"^module 'mmcv\._ext' has no attribute '_private'$"):
        ext._private  # noqa: B018
    assert ext.__doc__ == 'Stands in for the compiled operators of mmcv.'


@lite
def test_all_of_mmcv_ops_imports():
    ops = importlib.import_module('mmcv.ops')
    assert ops.DeformConv2d is not None


@lite
def test_another_operator_says_what_it_is_and_how_to_get_it():
    from mmcv.ops import CARAFE, PSAMask

    message = (
        r"'carafe_forward'.* Choose another upsampling .*, or install the .*`mim install mmcv==.*needs a compiler$"
    )
    with pytest.raises(NotImplementedError, match=message):
        CARAFE(1, 1, 2)(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 8, 8))
    with pytest.raises(NotImplementedError, match=r"'psamask_forward'.* not have\. Install the compiled mmcv"):
        PSAMask('collect', (3, 3))(torch.zeros(1, 9, 2, 2))


@lite
@pytest.mark.parametrize('family', ['deform_conv', 'focal_loss', 'nms', 'roi_ops'])
def test_each_family_of_operators_is_in_the_ext(family):
    ext, family = importlib.import_module('mmcv._ext'), importlib.import_module(f'ovkd_mm.compat.{family}')
    for name in family.__all__:
        assert vars(ext)[name] is vars(family)[name]


@lite
def test_the_environment_can_be_collected():
    from mmcv.utils import collect_env

    environment = collect_env()
    assert environment['MMCV Compiler'] == environment['MMCV CUDA Compiler'] == 'n/a'


def test_nms_of_mmcv_keeps_the_best_of_each_pair():
    from mmcv.ops import nms

    dets, inds = nms(BOXES, SCORES, 0.5)
    assert inds.tolist() == [0, 3]
    assert torch.equal(dets, torch.cat([BOXES, SCORES[:, None]], 1)[[0, 3]])
    assert nms(BOXES, SCORES, 0.5, max_num=1)[1].tolist() == [0]
    assert nms(BOXES, SCORES, 0.5, score_threshold=0.75)[1].tolist() == [0]
    assert nms(BOXES, SCORES, 0.5, offset=1)[1].tolist() == [0, 3]


def test_nms_of_mmcv_returns_arrays_for_arrays():
    from mmcv.ops import nms

    dets, inds = nms(BOXES.numpy(), SCORES.numpy(), 0.5)
    assert isinstance(dets, np.ndarray)
    assert inds.tolist() == [0, 3]


@pytest.mark.parametrize('split_thr', [10000, 1])
def test_batched_nms_looks_at_one_class_at_a_time(split_thr):
    from mmcv.ops import batched_nms

    labels = torch.tensor([0, 1, 2, 2])
    config = dict(type='nms', iou_threshold=0.5, split_thr=split_thr)
    dets, keep = batched_nms(BOXES, SCORES, labels, config)
    assert keep.tolist() == [0, 1, 3]
    assert torch.equal(dets, torch.cat([BOXES, SCORES[:, None]], 1)[[0, 1, 3]])
    assert batched_nms(BOXES, SCORES, labels, dict(config, max_num=2))[1].tolist() == [0, 1]


def test_batched_nms_looks_at_all_classes_on_request():
    from mmcv.ops import batched_nms

    labels = torch.tensor([0, 1, 2, 2])
    config = dict(type='nms', iou_threshold=0.5)
    assert batched_nms(BOXES, SCORES, labels, config, class_agnostic=True)[1].tolist() == [0, 3]
    assert batched_nms(BOXES, SCORES, labels, dict(config, class_agnostic=True))[1].tolist() == [0, 3]


def test_soft_nms_of_mmcv_lowers_the_second_of_a_pair():
    from mmcv.ops import batched_nms, soft_nms

    overlap = 0.81  # of boxes 0 and 1; 0.9 of boxes 2 and 3
    dets, inds = soft_nms(BOXES, SCORES, iou_threshold=0.3, method='linear')
    assert inds.tolist() == [0, 3, 1, 2]
    torch.testing.assert_close(dets[:, 4], torch.tensor([0.9, 0.7, 0.8 * (1 - overlap), 0.6 * (1 - 0.9)]))
    assert soft_nms(BOXES, SCORES, iou_threshold=0.3, method='naive')[1].tolist() == [0, 3]
    labels = torch.zeros(4, dtype=torch.long)
    assert torch.equal(batched_nms(BOXES, SCORES, labels, dict(type='soft_nms', iou_threshold=0.3))[0], dets)
