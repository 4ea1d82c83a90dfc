"""Take the student out of a distillation checkpoint: its weights and its plain config."""

import argparse
import copy
import shlex
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import save_checkpoint

import ovkd_mm  # noqa: F401  (first: it lets the toolkits import without a compiled mmcv)
from ovkd_mm.checkpoints.atomic_save import write_whole
from ovkd_mm.checkpoints.loading import load_checkpoint_file
from ovkd_mm.checkpoints.state_dict import load_strictly, model_weights
from ovkd_mm.config_files import is_distillation, model_of
from ovkd_mm.launch.cli import add_config_options, check_order, read_config, run
from ovkd_mm.launch.plain_config import forget_run, plain_config


def export_student(config_path: str, checkpoint_path: str, out_path: str, options: dict | None = None) -> Path:
    """Write the student's weights to ``out_path`` and its plain config beside it.

    The weights keep the checkpoint's ``meta`` (classes, palette), from which the toolkits' inferencers take the names;
    the config in it is the plain one, since mmengine's inferencers build the model from it if given weights alone.

    Args:
        config_path: The distillation config.
        checkpoint_path: A checkpoint trained with it.
        out_path: Where the weights go; must end with ``.pth``.
        options: Settings by keys with dots that override the config's, as in the training.

    Returns:
        Path of the plain config.

    Raises:
        ValueError: If the config distills nothing, the checkpoint does not fit, the two are swapped or a file is in
            the way.
        FileNotFoundError: If config or checkpoint do not exist.
    """
    out = Path(out_path)
    out_config = out.with_suffix('.py')
    if out.suffix != '.pth':
        raise ValueError(f'OUT must end with .pth, got {out_path!r}')
    for path in (out, out_config):
        if path.exists():
            raise ValueError(f'{path} exists and is not overwritten; move it away or choose another OUT')
    check_order(checkpoint_path)
    config = read_config(config_path, options)
    if not is_distillation(config):
        raise ValueError(f'{config_path}: model.type is {config.model.type!r}, not ovkd_mm.FeatureDistiller')
    checkpoint = load_checkpoint_file(checkpoint_path)
    state = model_weights(checkpoint)

    config = forget_run(plain_config(config))
    init_default_scope(config.get('default_scope', 'mmengine'))
    # Of a copy, since some models, mmdet's DETR among them, write tensors into their settings.
    load_strictly(MODELS.build(model_of(copy.deepcopy(config))), state, str(checkpoint_path))

    out.parent.mkdir(parents=True, exist_ok=True)
    meta = dict(checkpoint.get('meta') or {}, cfg=config.pretty_text)
    write_whole(out_config, config.pretty_text)
    try:
        save_checkpoint(dict(meta=meta, state_dict=state), str(out))
    except OSError:
        out_config.unlink()  # else it would be in the next one's way
        raise
    return out_config


def arguments() -> argparse.ArgumentParser:
    """Flags."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', metavar='CONFIG', help='the distillation config')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='a checkpoint trained with it')
    parser.add_argument('out', metavar='OUT.pth', help='file for the weights; the plain config goes to OUT.py')
    add_config_options(parser)
    return parser


def export(args: argparse.Namespace) -> None:
    """Export, and say how to go on."""
    out_config = export_student(args.config, args.checkpoint, args.out, args.cfg_options)
    print(f'wrote {args.out} and {out_config}')
    if Config.fromfile(out_config).get('test_dataloader'):
        print(f'try\n  {shlex.join(["python", "tools/test.py", str(out_config), args.out])}')


def main() -> None:
    """Export."""
    run(export, arguments())


if __name__ == '__main__':
    main()
