"""Train a small teacher, a student alone and the same student distilled, and write a report that compares them.

Without a data set of your own it generates one. It takes some minutes on two cores and uses a GPU where there is one.
"""

import argparse

import ovkd_mm  # noqa: F401  (first: it lets the toolkits import without a compiled mmcv)
from ovkd_mm.demo import run_demo
from ovkd_mm.launch.cli import at_least, run


def arguments() -> argparse.ArgumentParser:
    """Flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', help='a VOC-format folder with train and val or trainval and test; default: generate')
    parser.add_argument('--work-dir', default='work_dirs/demo', help='where everything goes (default: %(default)s)')
    parser.add_argument('--seed', type=at_least(0), default=0, help='seed of data and training (default: %(default)s)')
    return parser


def demo(args: argparse.Namespace) -> None:
    """Run the demo."""
    run_demo(args.work_dir, args.data, args.seed)


def main() -> None:
    """Run the demo."""
    run(demo, arguments(), 'The same command resumes from the last checkpoint.')


if __name__ == '__main__':
    main()
