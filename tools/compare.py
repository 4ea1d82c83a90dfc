"""Compare methods of distillation: train each on the same pair with the same seeds, and write a table and a report.

  python tools/compare.py configs/ablation/position.yml --seeds 0 1 2
  python tools/compare.py --config configs/cifar10/ofd_wrn28-4_wrn16-2_cifar10.py --methods none kd ofd_cifar

The same command resumes where it stopped, and trains nothing that is finished. Of a part of a study
(--methods, --seeds) the tables have what was trained before, too.
"""

import argparse
import sys
from pathlib import Path

import ovkd_mm  # noqa: F401  (first: it lets the toolkits import without a compiled mmcv)
from ovkd_mm.compare import read_study, run_study
from ovkd_mm.launch.cli import add_config_options, at_least, run


def arguments() -> argparse.ArgumentParser:
    """Flags; those that a study file has, too, override it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('study', nargs='?', metavar='STUDY.yml', help='what to compare; see configs/ablation')
    parser.add_argument('--config', help='the base distillation config')
    parser.add_argument(
        '--methods',
        nargs='+',
        metavar='NAME',
        help='labels of the study file, files of configs/_base_/methods (ofd+kd adds their losses up), or none for the '
        'student alone',
    )
    parser.add_argument(
        '--seeds', nargs='+', type=at_least(0), metavar='SEED', help='train each method with each (default: 0)'
    )
    parser.add_argument('--metric', help="key of the validation metric (default: the config's save_best)")
    parser.add_argument(
        '--work-dir', help='where everything goes; default: work_dirs/<name of the study, or compare_<config>>'
    )
    add_config_options(parser)
    return parser


def compare(args: argparse.Namespace) -> None:
    """Compare."""
    study = read_study(args.study, args.config, args.methods, args.seeds, args.cfg_options, args.metric)
    name = Path(args.study).stem if args.study else f'compare_{study.config.stem}'
    part = args.study and (args.methods or args.seeds)
    whole = read_study(args.study, args.config, None, None, args.cfg_options, args.metric) if part else None
    rows = run_study(study, args.work_dir or Path('work_dirs', name), whole)
    if any(not result.finished for row in rows for result in row.results):
        sys.exit('Some runs failed; see the table. The same command tries them again.')


def main() -> None:
    """Compare."""
    run(compare, arguments(), 'The same command resumes from the last checkpoint.')


if __name__ == '__main__':
    main()
