"""One shipped config, distilled for one step; see ``__main__.py`` for all of them."""

import copy
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_flatten

from ovkd_mm.benchmark.batches import random_batch
from ovkd_mm.config_files import model_of, read_config_file
from ovkd_mm.distillers import FeatureDistiller
from ovkd_mm.positions.layout import NCHW
from ovkd_mm.positions.place import Place
from ovkd_mm.positions.tap import SpanTap, Tap, reading

OFD = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'methods' / 'ofd.py'


def check(student: str, teacher: str) -> dict[str, Any]:
    """Distil one shipped config from another for a step.

    Args:
        student: Name of its config.
        teacher: Name of the teacher's.

    Returns:
        ``student`` and ``teacher``; ``error``, which is empty if all is well, ``plain`` if the student does not train
        without us either; ``pairs``, the places.
    """
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # upstream's
        found = _check(student, teacher)
        if found['plain'] and student.startswith('mmdet'):  # most take boxes alone, and some nothing more
            found = _check(student, teacher, masks=True)
        # Some take images of one size alone, or large ones.
        for size in dict(mmpretrain=(224, 32), mmseg=(512,)).get(student.partition('::')[0], ()):
            if found['plain']:
                found = _check(student, teacher, small=size)
        return found


def _check(student: str, teacher: str, small: int = 128, masks: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = dict(student=student, teacher=teacher, error='', plain=False, pairs=[])
    # What some preprocessors and heads ask of the runner.
    MessageHub.get_current_instance().update_info_dict(dict(iter=0, max_iters=100, epoch=0, max_epochs=10))
    try:
        config, model = _config(student)
        init_default_scope(config.get('default_scope', student.partition('::')[0]))
        size = _size(model, small)
        data = _data(student, model, size, masks)
        plain = _build(model)
        groups = _groups(plain, config)
        fresh = copy.deepcopy(plain.state_dict())  # some losses change with each batch
        want = _losses(plain, data)
        if not torch.isfinite(_total(plain, want)):
            raise ValueError('with random weights its losses are not finite')
        _total(plain, want).backward()
    except Exception as error:
        return found | dict(error=_short(error), plain=True)
    try:
        _distil(found, config, model, teacher, size, (plain, fresh, groups), want, data)
    except Exception as error:
        found['error'] = _short(error)
    return found


def _distil(
    found: dict,
    config: Config,
    model: dict,
    teacher: str,
    size: tuple[int, int],
    trained: tuple[nn.Module, dict, dict],
    want: dict,
    data: Callable[[], dict],
) -> None:
    plain, fresh, groups = trained
    other, teachers = _config(teacher)
    teachers['_scope_'] = other.get('default_scope', teacher.partition('::')[0])
    init_default_scope(config.get('default_scope', found['student'].partition('::')[0]))
    torch.manual_seed(0)
    distiller = FeatureDistiller(
        student=model,
        teacher=dict(model=teachers, allow_random=True, norm_mode='running'),
        method=Config.fromfile(OFD).method,
        pairs='auto',
        input_shape=size,
    )
    distiller = revert_sync_batchnorm(distiller).train()
    found['pairs'] = [f'{pair.student_place} <- {pair.teacher_place}' for pair in distiller.pairs]
    found_groups = _groups(distiller, config)
    if {name: group for name, group in found_groups.items() if name in groups} != groups:
        raise ValueError('the optimizer trains weights otherwise than the plain ones')
    if hasattr(distiller.student, 'backbone'):
        _check_crossed(distiller.student, [pair.student_place for pair in distiller.pairs], data)
    distiller.train()
    distiller.student.load_state_dict(fresh, strict=False)  # some make buffers in their first forward

    distiller.distill_weight = 0
    # No name for the losses here, which would keep their graph.
    if not _same({name: value for name, value in _losses(distiller, data).items() if 'distill' not in name}, want):
        raise ValueError('with weight 0 the losses are not the plain ones')
    distiller.distill_weight = 1.0

    for name, module in distiller.named_modules():
        if 'drop_path' in name:  # it would leave out blocks, and their gradients
            module.eval()
    losses = _losses(distiller, data)
    distilled = sum(value for name, value in losses.items() if name.startswith('loss_distill_'))
    if not torch.isfinite(_total(distiller, losses)):
        raise ValueError('the losses are not finite')
    distiller.zero_grad()
    distilled.backward()
    for index, pair in enumerate(distiller.pairs):
        if not any(p.grad is not None and p.grad.abs().sum() > 0 for p in pair.parameters()):
            raise ValueError(f'no gradient in the connector of pair {index}')
    backbone = getattr(distiller.student, 'backbone', distiller.student)
    later = _called_after(distiller.student, [pair.student_place for pair in distiller.pairs], data)
    learnable = [p for p in backbone.parameters() if p.requires_grad and id(p) not in later]
    reached = sum(p.numel() for p in learnable if p.grad is not None and p.grad.abs().sum() > 0)
    share = reached / max(sum(p.numel() for p in learnable), 1)
    if share < 0.8:
        raise ValueError(f'{share:.0%} of the learnable weights of the backbone get a gradient')
    # Its batch norms have seen more; and some models make modules in their first forward.
    distiller.student.load_state_dict(plain.state_dict(), strict=False)
    if not _same(_predictions(distiller, data), _predictions(plain, data)):
        raise ValueError('the predictions are not the plain ones')


def _called_after(student: Any, places: list[Place], data: Callable[[], dict]) -> set[int]:
    """The ids of the weights of modules that are first called after all places."""
    called: list[nn.Module] = []
    handles = [one.register_forward_hook(lambda module, *_: called.append(module)) for one in student.modules()]
    with torch.no_grad():
        _losses(student, data)
    for handle in handles:
        handle.remove()
    last = max(called.index(student.get_submodule(place.path)) for place in places)
    before = {id(p) for module in called[: last + 1] for p in module.parameters(recurse=False)}
    after = {id(p) for module in called[last + 1 :] for p in module.parameters(recurse=False)}
    return after - before


def _groups(model: nn.Module, config: Config) -> dict[str, dict]:
    """The settings of the optimizer for each weight, by its name in the student."""
    wrapper = copy.deepcopy(config.get('optim_wrapper'))
    if wrapper is None:
        return {}
    wrapper['type'] = 'OptimWrapper'  # AMP asks for a GPU
    for name in ('loss_scale', 'dtype', 'use_fp16'):
        wrapper.pop(name, None)
    groups = build_optim_wrapper(model, wrapper).optimizer.param_groups
    names = {id(parameter): name.removeprefix('student.') for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: {
            key: value for key, value in group.items() if key not in ('params', 'param_names', 'group_name')
        }
        for group in groups
        for parameter in group['params']
    }


def _check_crossed(student: Any, places: list[Place], data: Callable[[], dict]) -> None:
    """Whether, for each place, some output of the backbone sees of the image what the place sees, and nothing else.

    Then the output's gradient by the image is the one through the place, by the chain rule.
    """
    norms = [module for module in student.modules() if isinstance(module, _BatchNorm)]
    for module in norms:
        module.training = module.eps > 0  # with random weights and running statistics gradients explode
    image = student.data_preprocessor(data(), True)['inputs'][: 2 if norms else 1].requires_grad_()
    taps: list[Tap | SpanTap] = [Tap(replace(place, layout=NCHW)) for place in places]  # the tensors, no views
    with reading(student, taps):
        outputs = [output for output in tree_flatten(student.backbone(image))[0] if isinstance(output, Tensor)]
        features = [one.take() for one in taps]
    around = dict(zip(places, features, strict=True))
    for output in reversed([output for output in outputs if output.requires_grad]):
        total = (output * torch.randn_like(output)).sum()
        gradients = torch.autograd.grad(total, [image, *around.values()], retain_graph=True, allow_unused=True)
        want = gradients[0]
        for (place, feature), above in zip(list(around.items()), gradients[1:], strict=True):
            if want is None or above is None:
                continue
            through = torch.autograd.grad(feature, image, above, retain_graph=True)[0]
            if (through - want).norm() < 1e-3 * want.norm():
                del around[place]
        if not around:
            return
    raise ValueError(f'a path around {next(iter(around))} leads to each output of the backbone')


def _config(name: str) -> tuple[Config, dict]:
    """A config and its model, which asks for no download."""
    config = read_config_file(name, name)
    model = model_of(config)
    preprocessor = config.get('data_preprocessor')
    if preprocessor is not None and 'data_preprocessor' not in model:
        model['data_preprocessor'] = preprocessor
    _forget_weights(model)
    return config, model


def _forget_weights(config: Any) -> None:
    if isinstance(config, dict):
        for key in ('init_cfg', 'pretrained'):
            if config.get(key):
                config[key] = False if config[key] is True else None
        for value in config.values():
            _forget_weights(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            _forget_weights(value)


def _build(model: dict) -> nn.Module:
    torch.manual_seed(0)
    built = revert_sync_batchnorm(MODELS.build(copy.deepcopy(model))).train()
    for module in built.modules():
        if isinstance(module, _BatchNorm) and module.affine and not module.weight.any():
            nn.init.ones_(module.weight)  # timm begins residuals at zero, where nothing before has a gradient
    return built


def _size(model: dict, small: int) -> tuple[int, int]:
    """A small input, or the one size that a transformer takes."""
    sizes = [size for size in _found(model, 'img_size') if size]
    queries = any(True for _ in _found(model, 'num_queries'))  # are as many as the places of the maps at most
    size = sizes[0] if sizes else max(small, 256) if queries else small
    return (size, size) if isinstance(size, int) else tuple(size)


def _found(config: Any, key: str) -> Iterator[Any]:
    if isinstance(config, dict):
        if key in config:
            yield config[key]
        for value in config.values():
            yield from _found(value, key)


def _data(name: str, model: dict, size: tuple[int, int], masks: bool) -> Callable[[], dict]:
    """What makes a batch of two for a toolkit's models, each time the same."""
    toolkit = name.partition('::')[0]
    classes = list(_found(model, 'num_classes')) or [2]

    def batch() -> dict:
        np.random.seed(1)  # batch augmentations
        torch.manual_seed(1)
        if toolkit == 'mmdet':
            count = min(80, max(classes))
            made = demo_mm_inputs(2, [[3, *size]] * 2, num_classes=count, with_mask=masks, with_semantic=masks)
            for sample in made['data_samples']:  # for those that get them from a file
                boxes = sample.gt_instances.bboxes
                sample.proposals = InstanceData(bboxes=boxes, scores=torch.ones(len(boxes)))
            return made
        channels = len(model.get('data_preprocessor', {}).get('mean', (0, 0, 0)))
        if toolkit == 'mmseg':
            made = random_batch(toolkit, 2, size, min(classes), channels)
            for sample in made['data_samples']:  # for those that learn edges, too
                sample.gt_edge_map = PixelData(data=(sample.gt_sem_seg.data == 3).long())
            return made
        samples = [DataSample().set_gt_label(label) for label in (1, 2)]
        for sample in samples:  # for those that learn to fill in what is masked
            sample.set_mask(torch.rand(size[0] // 16, size[1] // 16) < 0.4)
        return dict(inputs=torch.randint(256, (2, channels, *size), dtype=torch.uint8), data_samples=samples)

    return batch


def _losses(model: Any, data: Callable[[], dict]) -> dict:
    if 'size' in vars(model.data_preprocessor):  # mmseg's pads to its crop
        model.data_preprocessor.size = None
        model.data_preprocessor.size_divisor = 1
    batch = model.data_preprocessor(data(), True)
    torch.manual_seed(2)
    return model(**batch, mode='loss')


def _total(model: Any, losses: dict) -> Tensor:
    return model.parse_losses(losses)[0]


@torch.no_grad()
def _predictions(model: Any, data: Callable[[], dict]) -> list:
    training = model.training
    model.eval()
    found = []
    for mode in ('tensor', 'predict'):
        torch.manual_seed(2)
        one = {name: values[:1] for name, values in data().items()}  # some predict one image at a time
        try:
            found.append(model(**model.data_preprocessor(one, False), mode=mode))
        except Exception as error:  # of one that trains without a compiled mmcv, or has no such mode
            found.append(_short(error))
    model.train(training)
    return found


def _same(one: Any, other: Any) -> bool:
    """Whether two results hold the same numbers."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, str):
        return one == other
    if isinstance(one, BaseDataElement):
        return _same(dict(one.items()), dict(other.items()))
    return True


def _short(error: Exception) -> str:
    return f'{type(error).__name__}: {" ".join(str(error).split())}'[:300]


if __name__ == '__main__':
    torch.set_num_threads(1)
    print('\n' + json.dumps(check(*sys.argv[1:3])))
