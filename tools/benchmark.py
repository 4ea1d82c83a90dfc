"""Time the parts of a distilled step, on random images and with a random teacher."""

import argparse
import time
from pathlib import Path

import torch
from mmengine.device import get_device

import ovkd_mm  # noqa: F401  (first: it lets the toolkits import without a compiled mmcv)
from ovkd_mm.benchmark import benchmark, images_per_second, with_last_pairs
from ovkd_mm.compare.environment import environment
from ovkd_mm.launch.cli import add_config_options, at_least, check_device, read_config, run, use_amp
from ovkd_mm.launch.input_shape import input_shape_of
from ovkd_mm.report.benchmark import markdown, write_benchmark


def arguments() -> argparse.ArgumentParser:
    """Flags."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of a distillation config')
    parser.add_argument(
        '--batch-size', nargs='+', type=at_least(1), metavar='N', help="one or several; default: the config's"
    )
    parser.add_argument(
        '--sizes',
        nargs='+',
        type=at_least(1),
        metavar='PIXELS',
        help="sides of square images, one or several; default: the config's",
    )
    parser.add_argument(
        '--pairs',
        nargs='+',
        type=at_least(1),
        metavar='N',
        help="only the last N of the config's pairs, one or several N",
    )
    parser.add_argument('--rounds', type=at_least(1), default=15, help='how often each part is timed (default: 15)')
    parser.add_argument('--amp', action='store_true', help='measure in mixed precision, on a GPU')
    parser.add_argument('--channels-last', action='store_true', help='with channels side by side in memory')
    parser.add_argument('--data', action='store_true', help="time the training's data loader, too")
    parser.add_argument('--peer', choices=['mmrazor'], help="also time the peer's OFD step on the same pair")
    parser.add_argument('--device', default=get_device(), help='default: %(default)s')
    parser.add_argument('--work-dir', type=Path, help='default: work_dirs/benchmark/<config name>/<time>')
    add_config_options(parser)
    return parser


def measure(args: argparse.Namespace) -> None:
    """Measure, print and write."""
    check_device(args.device)
    title = Path(args.config).stem
    folder = args.work_dir or Path('work_dirs', 'benchmark', title, time.strftime('%Y%m%d_%H%M%S'))
    if (written := folder / 'benchmark.md').exists():
        raise ValueError(f'{str(written)!r} exists and is not overwritten; name another --work-dir')
    config = read_config(args.config, args.cfg_options)
    if args.data and not config.get('train_dataloader'):
        raise ValueError('--data: the config has no train_dataloader')
    if args.amp:
        use_amp(config, args.device)
    if args.sizes:
        sizes = [(side, side) for side in args.sizes]
    elif told := input_shape_of(config):
        sizes = [told.size]
    else:
        raise ValueError('the config does not say how large its images are: set --sizes')
    batches = args.batch_size or [(config.get('train_dataloader') or {}).get('batch_size')]
    if None in batches:
        raise ValueError('the config has no train_dataloader.batch_size: give --batch-size')
    # Before anything takes minutes: it fails where there are no data.
    loaded = images_per_second(config, batches[-1]) if args.data else None
    configs = [with_last_pairs(config, count) for count in args.pairs] if args.pairs else [config]
    found = [
        benchmark(one, batch, size, torch.device(args.device), args.channels_last, args.rounds, args.peer == 'mmrazor')
        for one in configs
        for size in sizes
        for batch in batches
    ]
    where = environment()
    mode = ', channels last' * args.channels_last + ', mixed precision' * args.amp
    notes = [
        f'Medians of {args.rounds} alternating rounds{mode}; {where["device"]}; {where["versions"]}; commit '
        f'{where["commit"]}.'
    ]
    if loaded is not None:
        notes += ['', f'Its data loader hands over {loaded:.1f} images a second.']
    print(markdown(found, title, notes))
    write_benchmark(folder, found, title, notes)
    print(f'written: {folder}/benchmark.md, .json, .svg')


def main() -> None:
    """Measure, print and write."""
    run(measure, arguments())


if __name__ == '__main__':
    main()
