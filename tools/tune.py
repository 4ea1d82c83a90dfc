"""Search a method, its weight and its pairs for a distillation config, on a part of the schedule.

  python tools/tune.py configs/ssd300/ofd_ssd300_r50-r18_voc0712.py --methods ofd pkd cwd --trials 20 --part 0.1

The weight is searched as the share in loss_weight=dict(share=...), a multiple of the norm of the task's gradient, for
each method of a sum. The times of schedulers and hooks shrink with the schedule. The same command resumes where it
stopped; with more --trials it continues the search. table.md in the work dir ranks what was tried, and best.yml is a
study of the best for tools/compare.py. Needs Optuna.
"""

import argparse
from pathlib import Path

import ovkd_mm  # noqa: F401  (first: it lets the toolkits import without a compiled mmcv)
from ovkd_mm.launch.cli import add_config_options, at_least, run
from ovkd_mm.tune import tune


def arguments() -> argparse.ArgumentParser:
    """Flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='a distillation config')
    parser.add_argument(
        '--methods',
        nargs='+',
        default=['ofd'],
        metavar='NAME',
        help='files of configs/_base_/methods, or sums of them such as ofd+kd (default: ofd)',
    )
    parser.add_argument('--trials', type=at_least(1), default=20, help='how many to train in all (default: 20)')
    parser.add_argument(
        '--part', type=float, default=0.1, help='fraction of the schedule that a trial is trained for (default: 0.1)'
    )
    parser.add_argument('--seed', type=at_least(0), default=0, help='seed of the trainings and the search (default: 0)')
    parser.add_argument('--metric', help="key of the validation metric (default: the config's save_best)")
    parser.add_argument('--work-dir', help='where everything goes; default: work_dirs/tune_<config>')
    add_config_options(parser)
    return parser


def search(args: argparse.Namespace) -> None:
    """Search."""
    tune(
        args.config,
        args.work_dir or Path('work_dirs', f'tune_{Path(args.config).stem}'),
        args.methods,
        args.trials,
        args.part,
        args.seed,
        args.cfg_options,
        args.metric,
    )


def main() -> None:
    """Search."""
    run(search, arguments(), 'The same command goes on from the last checkpoint.')


if __name__ == '__main__':
    main()
