"""Test a model of any toolkit; of a distillation only the student is tested, without its teacher."""

import argparse

from mmengine.config import Config
from mmengine.evaluator import DumpResults
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

import ovkd_mm  # noqa: F401  (first: it lets the toolkits import without a compiled mmcv)
from ovkd_mm.hooks import ClassCountHook
from ovkd_mm.launch.cli import add_config_arguments, check_order, load_config, run
from ovkd_mm.launch.draw import draw_predictions, warn_of_equal_names
from ovkd_mm.launch.plain_config import plain_config


def arguments() -> argparse.ArgumentParser:
    """Flags as mmdet's tools/test.py has them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config')
    parser.add_argument('checkpoint', help='path or URL of the checkpoint')
    parser.add_argument('--out', metavar='FILE.pkl', help='dump the predictions for evaluation elsewhere')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument('--show-dir', help='folder for painted predictions (mmdet: below work_dir/<timestamp>)')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds between two shown pictures')
    parser.add_argument('--tta', action='store_true', help="test-time augmentation by the config's tta_model")
    add_config_arguments(parser)
    return parser


def test(args: argparse.Namespace) -> None:
    """Test."""
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        raise ValueError(f'--out must end with .pkl or .pickle, got {args.out!r}')
    check_order(args.checkpoint)
    config = plain_config(load_config(args))
    config.load_from, config.resume = args.checkpoint, False
    config.custom_hooks = [*config.get('custom_hooks', []), dict(type='ovkd_mm.CheckpointFitHook')]
    if args.show or args.show_dir:
        draw_predictions(config, args.show, args.show_dir, args.wait_time, args.tta)
    if args.tta:
        if 'tta_model' not in config or 'tta_pipeline' not in config:
            raise ValueError('--tta needs tta_model and tta_pipeline in the config')
        config.test_dataloader.dataset.pipeline = config.tta_pipeline
        config.model = dict(**config.tta_model, module=config.model)
    config = Config(config.to_dict())  # no file name: the runner is not to write over the training's config
    runner = RUNNERS.build(config) if 'runner_type' in config else Runner.from_cfg(config)
    if args.out:
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    runner.register_hook(ClassCountHook())
    if args.show_dir:
        warn_of_equal_names(runner.test_loop.dataloader.dataset)
    runner.test()


def main() -> None:
    """Test."""
    run(test, arguments())


if __name__ == '__main__':
    main()
