"""What the command lines share."""

import argparse
import os
import tempfile
from pathlib import Path

from mmengine.config import Config, DictAction

__all__ = ['add_config_arguments', 'load_config']


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every toolkit's train and test tools have."""
    parser.add_argument('--work-dir', help='folder for logs and models; default: work_dirs/<config name>')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, such as model.teacher.checkpoint=teacher.pth; lists as key="[a,b]"',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    # torch.distributed.launch hands over --local-rank, older ones --local_rank.
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)


def load_config(args: argparse.Namespace) -> Config:
    """Read the config that the flags of :func:`add_config_arguments` ask for.

    The work dir is ``--work-dir``, else the config's, else ``work_dirs/<config name>``.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If the work dir cannot be written.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    config = Config.fromfile(args.config)
    config.launcher = args.launcher
    if args.cfg_options:
        config.merge_from_dict(args.cfg_options)
    config.work_dir = args.work_dir or config.get('work_dir') or str(Path('work_dirs', Path(args.config).stem))
    try:
        Path(config.work_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=config.work_dir):
            pass
    except OSError as exc:
        raise ValueError(
            f'work_dir={config.work_dir!r} cannot be written ({exc}); choose another with --work-dir'
        ) from exc
    return config
