"""Train a model, distilled or plain, of any toolkit."""

import argparse

from mmengine.device import get_device
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

import ovkd_mm  # noqa: F401  (first: it lets the toolkits import without a compiled mmcv)
from ovkd_mm.checkpoints.resume import prepare_resume
from ovkd_mm.config_files import type_name
from ovkd_mm.hooks import (
    ChannelsLastHook,
    ClassCountHook,
    FinalValidationHook,
    FSDPKeysHook,
    InitialWeightsHook,
    LabelRangeHook,
    SeedHook,
)
from ovkd_mm.launch.cli import add_config_arguments, check_optimizer, load_config, run, use_amp


def arguments() -> argparse.ArgumentParser:
    """Flags as mmdet's tools/train.py has them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config')
    parser.add_argument('--amp', action='store_true', help='train with automatic mixed precision')
    parser.add_argument(
        '--channels-last',
        action='store_true',
        help='keep features with their channels side by side in memory (NHWC): try it with depthwise convolutions on a '
        'CPU, and with --amp on a GPU',
    )
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate to the batch size')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from CHECKPOINT, or from the newest one in the work dir that can be read',
    )
    add_config_arguments(parser)
    return parser


def train(args: argparse.Namespace) -> None:
    """Train."""
    config = load_config(args)
    if missing := [key for key in ('train_dataloader', 'train_cfg', 'optim_wrapper') if not config.get(key)]:
        raise ValueError(f'{", ".join(missing)} is not set, without which nothing can be trained')
    if args.amp:
        use_amp(config, get_device())
    if args.auto_scale_lr:
        if 'base_batch_size' not in (config.get('auto_scale_lr') or {}):
            raise ValueError('--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config')
        schedulers = config.get('param_scheduler') or []
        if 'OneCycleLR' in map(type_name, schedulers if isinstance(schedulers, list) else [schedulers]):
            raise ValueError(
                '--auto-scale-lr changes nothing where OneCycleLR sets the rate: scale its eta_max instead'
            )
        config.auto_scale_lr.enable = True
    notes = []
    if args.resume or config.get('resume'):
        notes = prepare_resume(config, args.resume or config.get('load_from') or 'auto')
    runner = RUNNERS.build(config) if 'runner_type' in config else Runner.from_cfg(config)
    if args.channels_last:
        runner.register_hook(ChannelsLastHook())
    for hook in (SeedHook, InitialWeightsHook, ClassCountHook, LabelRangeHook, FSDPKeysHook, FinalValidationHook):
        runner.register_hook(hook())
    check_optimizer(config)
    for note in notes:
        runner.logger.warning(note)
    runner.train()


def main() -> None:
    """Train."""
    run(train, arguments(), 'The same command with --resume resumes from the last checkpoint.')


if __name__ == '__main__':
    main()
