"""Draw the predictions of a model of any toolkit on images; for a distillation, those of its student."""

import argparse

from mmengine.device import get_device

import ovkd_mm  # noqa: F401  (first: it lets the toolkits import without a compiled mmcv)
from ovkd_mm.launch.cli import add_config_options, check_order, read_config, run
from ovkd_mm.launch.plain_config import plain_config
from ovkd_mm.launch.predict import build_painter, paint, picture_files


def arguments() -> argparse.ArgumentParser:
    """Flags as mmdet's demo/image_demo.py has them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', metavar='CONFIG', help='a plain config or a distillation config')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='path or URL of the checkpoint')
    parser.add_argument('images', metavar='IMAGE', nargs='+', help='images, or folders of them')
    parser.add_argument('--out-dir', required=True, help='folder for the pictures; nothing in it is overwritten')
    parser.add_argument('--device', default=get_device(), help='such as cpu or cuda:1; default: %(default)s')
    parser.add_argument(
        '--pred-score-thr', type=float, default=0.3, help='lowest score of a box that is drawn (%(default)s)'
    )
    add_config_options(parser)
    return parser


def predict(args: argparse.Namespace) -> None:
    """Predict."""
    check_order(args.checkpoint)
    config = plain_config(read_config(args.config, args.cfg_options))
    files = picture_files(args.images, args.out_dir)
    paint(build_painter(config, args.checkpoint, args.device, args.pred_score_thr), files)
    print(f'{args.out_dir}: {len(files)} painted')


def main() -> None:
    """Predict."""
    run(predict, arguments())


if __name__ == '__main__':
    main()
