"""Work for two gloo processes; a module of its own, since a spawned process has to import it."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
from command_line import ROOT
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.model.wrappers import MMFullyShardedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS
from mmengine.runner import FlexibleRunner
from torch import distributed, multiprocessing
from torch.distributed.fsdp import FullStateDictConfig, MixedPrecision, StateDictType
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy
from torch.nn.modules.batchnorm import _BatchNorm
from toy import METHOD, PAIRS, ToyImages, batch, distiller_config, toy_runner

from ovkd_mm.checkpoints.loading import load_checkpoint_file
from ovkd_mm.distillers.gradient_ratio import gradient_ratios
from ovkd_mm.hooks import FSDPKeysHook, ParaphraserHook

METHODS = {
    name: Config.fromfile(f'{ROOT}/configs/_base_/methods/{name}.py').method.to_dict() for name in ('jacobian', 'fsp')
}
FT = Config.fromfile(f'{ROOT}/configs/_base_/methods/ft.py').method.to_dict()
STEM = dict(type='ovkd_mm.ModuleOutput', path='backbone.stem')  # no batch norm feeds it: a running margin


def run(work: Callable, folder: Path, count: int = 2, backend: str = 'gloo') -> list[dict]:
    """What each process returned from ``work(folder)``, one of the functions of this module."""
    multiprocessing.spawn(_process, (work, folder, count, backend), nprocs=count)
    return [torch.load(folder / f'{rank}.pth', weights_only=True) for rank in range(count)]


def _process(rank: int, work: Callable, folder: Path, count: int, backend: str) -> None:
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    distributed.init_process_group(backend, init_method=f'file://{folder}/rendezvous', rank=rank, world_size=count)
    torch.save(work(folder), folder / f'{rank}.pth')
    distributed.destroy_process_group()


def build_distiller(**changes) -> torch.nn.Module:
    torch.manual_seed(0)
    teacher = dict(model=dict(type='ToyClassifier', width=6), allow_random=True, norm_mode='running')
    pairs = [*PAIRS, dict(student=STEM, teacher=STEM)]
    model = MODELS.build(distiller_config(teacher=teacher, pairs=pairs) | changes).train()
    model.init_weights()
    return model


def gradients(model: torch.nn.Module, part: slice) -> dict:
    """Gradients and running margins on part of a batch; every batch norm uses its running statistics."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    inputs, labels = batch(8)
    core = getattr(model, 'module', model)
    core.parse_losses(model(inputs[part], labels[part], mode='loss'))[0].backward()
    found = {name: weight.grad for name, weight in core.named_parameters()}
    return found | {name: buffer for name, buffer in core.named_buffers() if 'margin' in name or 'negatives' in name}


def with_ddp(folder: Path) -> dict:
    return dict(gradients=gradients_of_half_a_batch(), trained=three_steps_with_teachers_of_their_own())


def with_fsdp_on_cpu(folder: Path) -> dict:
    flexible = flexible_runner(folder, device_id='cpu')
    half = three_steps_with_fsdp(MixedPrecision(param_dtype=torch.bfloat16))
    return dict(ddp=three_steps_with_ddp(), fsdp=three_steps_with_fsdp(), half=half, flexible=flexible)


def with_fsdp(folder: Path) -> dict:
    return flexible_runner(folder)


def with_methods(folder: Path) -> dict:
    rank = distributed.get_rank()
    halves = {}
    for name, method in METHODS.items():
        model = MMDistributedDataParallel(build_distiller(method=method, pairs=PAIRS), broadcast_buffers=False)
        halves[name] = gradients(model, slice(4 * rank, 4 * rank + 4))
    return dict(gradients=halves, paraphrasers=train_paraphrasers(folder))


def train_paraphrasers(folder: Path) -> dict:
    """Where the paraphrasers of this process began, what they saw, and what became of them."""
    rank = distributed.get_rank()
    runner = toy_runner(folder / str(rank), distiller_config(method=FT))
    transforms = torch.nn.ModuleList(pair.teacher_transform for pair in runner.model.pairs)
    with torch.no_grad():
        for weight in transforms.parameters():
            weight += rank
    began, images = next(transforms.parameters()).sum().item(), []
    runner.model.teacher.model.backbone.stem.register_forward_pre_hook(
        lambda module, args: images.append(args[0].sum().item())
    )
    ParaphraserHook(iters=2).before_train(runner)
    return dict(began=began, images=images, state=transforms.state_dict())


def gradients_of_half_a_batch() -> dict:
    rank = distributed.get_rank()
    model = MMDistributedDataParallel(build_distiller(), broadcast_buffers=False)
    return gradients(model, slice(4 * rank, 4 * rank + 4))


def three_steps(model: torch.nn.Module) -> None:
    """Train; in the second step distillation is off."""
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9))
    for step in range(3):
        model.module.distill_weight = float(step != 1)
        inputs, labels = batch(4, seed=10 * step + distributed.get_rank())
        model.train_step(dict(inputs=list(inputs), data_samples=labels), wrapper)


def three_steps_with_teachers_of_their_own() -> dict:
    """Each process has another teacher."""
    model = build_distiller()
    with torch.no_grad():
        for weight in model.teacher.parameters():
            weight += distributed.get_rank()
    before = {key: value.clone() for key, value in model.teacher.state_dict().items()}
    model = MMDistributedDataParallel(model, broadcast_buffers=True)
    three_steps(model)
    after = model.module.teacher.state_dict()
    return dict(
        teacher_is_untouched=all(torch.equal(before[key], after[key]) for key in before),
        teacher=after['model.fc.weight'],
        weights={name: weight.detach() for name, weight in model.module.named_parameters()},
        bytes_in_buckets=model._get_ddp_logging_data()['total_parameter_size_bytes'],
    )


def three_steps_with_ddp() -> dict:
    model = MMDistributedDataParallel(build_distiller(), broadcast_buffers=False)
    three_steps(model)
    return model.module.state_dict()


def three_steps_with_fsdp(mixed_precision: MixedPrecision | None = None) -> dict:
    """The checkpoint that mmengine's FSDP strategy writes, and what is there after loading it once more."""
    model = build_distiller()
    model = MMFullyShardedDataParallel(
        model,
        device_id=torch.device('cpu'),
        use_orig_params=True,
        auto_wrap_policy=partial(size_based_auto_wrap_policy, min_num_params=300),
        mixed_precision=mixed_precision,
    )
    three_steps(model)
    model.set_state_dict_type(model, StateDictType.FULL_STATE_DICT, FullStateDictConfig(offload_to_cpu=True))
    runner, hook = SimpleNamespace(model=model), FSDPKeysHook()
    hook.before_save_checkpoint(runner, checkpoint := dict(state_dict=model.state_dict()))
    saved = {key: value.clone() for key, value in checkpoint['state_dict'].items()}
    loaded = dict(state_dict={key: value + 1 for key, value in saved.items()})
    hook.after_load_checkpoint(runner, loaded)
    model.load_state_dict(loaded['state_dict'])
    hook.before_save_checkpoint(runner, again := dict(state_dict=model.state_dict()))
    return dict(saved=saved, again=again['state_dict'])


def flexible_runner(folder: Path, **wrapper) -> dict:
    """Checkpoints after two epochs, and after one and a resumed one; the connectors warm up for an iteration."""
    checkpoints = {}
    for name, start in dict(whole=None, resumed=folder / 'whole' / 'epoch_1.pth').items():
        torch.manual_seed(0)
        runner = FlexibleRunner(
            model=distiller_config(),
            work_dir=str(folder / name),
            strategy=dict(
                type='FSDPStrategy',
                state_dict_cfg='full',
                model_wrapper=dict(type='MMFullyShardedDataParallel', use_orig_params=True, **wrapper),
            ),
            train_dataloader=dict(
                dataset=ToyImages(16),
                batch_size=4,
                collate_fn=dict(type='default_collate'),
                sampler=dict(type='DefaultSampler', shuffle=True),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=2),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
            randomness=dict(seed=0),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
            custom_hooks=[dict(type='ovkd_mm.FSDPKeysHook'), dict(type='ovkd_mm.ConnectorWarmupHook', iters=1)],
            load_from=start and str(start),
            resume=start is not None,
            experiment_name=name,
        )
        runner.train()
        distributed.barrier()
        checkpoints[name] = load_checkpoint_file(folder / name / 'epoch_2.pth')['state_dict']
    return checkpoints


def with_losses_that_overflow_on_one(folder: Path) -> dict:
    """How many backward passes a measurement takes under float16, where the other process's loss is 300 times ours."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    with torch.autocast('cpu', torch.float16):
        loss = layers(torch.randn(4, 8)).float().square().mean() * 300 ** distributed.get_rank()
        with mock.patch('torch.autograd.grad', wraps=torch.autograd.grad) as passes:
            (ratio,) = gradient_ratios(loss, [3 * loss], list(layers.parameters()))
    return dict(passes=passes.call_count, ratio=ratio)


def with_auto_weight(folder: Path) -> dict:
    """The measured weight of each of three steps, and what this process alone would find in the first."""
    rank = distributed.get_rank()
    auto = dict(method=METHOD | dict(loss=METHOD['loss'] | dict(loss_weight='auto')))
    model = MMDistributedDataParallel(build_distiller(**auto), broadcast_buffers=False)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3))
    factors = []
    for step in range(3):
        inputs, labels = batch(4, seed=10 * step + rank)
        log = model.train_step(dict(inputs=list(inputs), data_samples=labels), wrapper)
        factors.append(log['distill_auto_weight_0'].item())
    alone = build_distiller(**auto)
    inputs, labels = batch(4, seed=rank)
    losses = alone.data_preprocessor(dict(inputs=list(inputs), data_samples=labels), True)
    with mock.patch('ovkd_mm.distillers.gradient_ratio.all_reduce'):
        found = alone(**losses, mode='loss')['distill_auto_weight_0'].item()
    return dict(factors=factors, alone=found)
