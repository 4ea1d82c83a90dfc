"""Show where features of a model can be read, and which pairs two networks have; write a config with these."""

import argparse
from pathlib import Path

import ovkd_mm  # noqa: F401  (first: it lets the toolkits import without a compiled mmcv)
from ovkd_mm.launch.cli import at_least, run
from ovkd_mm.report.positions import Options, show_positions


def arguments() -> argparse.ArgumentParser:
    """Flags."""
    parser = argparse.ArgumentParser(description=__doc__)
    name = 'a config or a package::config name'
    parser.add_argument('config', metavar='CONFIG', help=f'{name}; a distillation config has a teacher of its own')
    parser.add_argument(
        'teacher',
        metavar='TEACHER_CONFIG',
        nargs='?',
        help=f'{name} that CONFIG is to learn from, or timm::NAME, torchvision::NAME, transformers::FOLDER',
    )
    parser.add_argument('--method', help="a file of configs/_base_/methods; default: OFD, or the config's own")
    parser.add_argument('--all', action='store_true', help="more places than those of pairs='auto'")
    parser.add_argument(
        '--input-shape', nargs=2, type=at_least(1), metavar=('H', 'W'), help='default: that of the training pipeline'
    )
    parser.add_argument('--checkpoint', help='weights of the teacher, or of CONFIG alone: shows the margins')
    parser.add_argument('--write', type=Path, metavar='OUT.py', help='write a distillation config')
    parser.add_argument(
        '--svg', type=Path, metavar='OUT.svg', nargs='?', const=Path(), help='draw the pairs; default: beside OUT.py'
    )
    return parser


def positions(args: argparse.Namespace) -> None:
    """Show, and write."""
    flags = vars(args)
    show_positions(Options(every=flags['all'], **{key: flags[key] for key in flags if key not in ('all', 'traceback')}))


def main() -> None:
    """Show, and write."""
    run(positions, arguments())


if __name__ == '__main__':
    main()
