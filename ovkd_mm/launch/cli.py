"""What the command lines share."""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.registry import OPTIMIZERS

from ..config_files import read_config_file, refuse_name, type_name
from ..nearest import nearest
from .config_keys import check_keys, check_scope, override
from .config_values import check_values
from .mistakes import mistake

__all__ = [
    'add_config_arguments',
    'add_config_options',
    'at_least',
    'check_device',
    'check_optimizer',
    'check_order',
    'load_config',
    'read_config',
    'run',
    'use_amp',
]

# The environment variables that give a process its rank, and what sets them.
LAUNCHERS = dict(
    pytorch=(('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'), 'torchrun sets: use tools/dist_train.sh'),
    slurm=(('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'), 'srun sets: use tools/slurm_train.sh'),
    mpi=(('OMPI_COMM_WORLD_LOCAL_RANK', 'MASTER_ADDR'), 'mpirun and its caller set'),
)


def run(command: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser, go_on: str = '') -> None:
    """Run a tool; a user's mistake gives one sentence on stderr and exit status 2, Ctrl-C exit status 130.

    A bug keeps its traceback; ``--traceback`` also shows that of a mistake.

    Args:
        command: What to do with the flags.
        parser: Parser of the flags.
        go_on: How to go on after Ctrl-C.

    Raises:
        SystemExit: If the user made a mistake or pressed Ctrl-C.
    """
    parser.add_argument('--traceback', action='store_true', help='show the traceback of one-line errors, too')
    args = parser.parse_args()
    try:
        command(args)
    except KeyboardInterrupt:
        print(f'\nStopped{_which_process()}. {go_on}'.rstrip(), file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        message = None if args.traceback else mistake(error)
        if message is None:
            raise
        print(f'error{_which_process()}: {message}', file=sys.stderr)
        raise SystemExit(2) from None


def _which_process() -> str:
    rank = os.environ.get('RANK')
    return f' (rank {rank})' if rank and int(os.environ.get('WORLD_SIZE', 1)) > 1 else ''


class _Options(DictAction):
    """Says what is wrong where upstream fails to unpack."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: list, *args: Any
    ) -> None:
        for value in values:
            if '=' not in value:
                raise argparse.ArgumentError(self, f'{value!r} is not KEY=VALUE')
            if re.match(r'[^=]*=[\[(\s]*(dict\(|\{.*:)', value):
                raise argparse.ArgumentError(
                    self, f'{value!r} has a dict, which a flag cannot hold: set its keys (a.b=1), or write a config'
                )
        try:
            super().__call__(parser, namespace, values, *args)
        except AssertionError as error:
            raise argparse.ArgumentError(self, f'{" ".join(values)}: {error}') from error


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_Options,
        metavar='KEY=VALUE',
        help='override settings of the config, such as model.teacher.checkpoint=teacher.pth; lists as key="[a,b]"',
    )


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every toolkit's train and test tools have."""
    parser.add_argument('--work-dir', help='folder for logs and models; default: work_dirs/<config name>')
    add_config_options(parser)
    parser.add_argument('--launcher', choices=['none', *LAUNCHERS], default='none', help='job launcher')
    # torch.distributed.launch hands over --local-rank, older ones --local_rank.
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)


def read_config(path: str | Path, options: dict | None = None, named: bool = False) -> Config:
    """Read a config and override some of its settings.

    Args:
        path: Of the config.
        options: Values by keys with dots, as ``--cfg-options`` gives them.
        named: Whether a ``package::config`` name will do.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If it cannot be read, names no model or has no place for an option.
    """
    what = f'the config {str(path)!r}'
    if not named:
        refuse_name(path, what)
    config = read_config_file(path, what)
    check_keys(config)
    override(config, options or {}, '--cfg-options')
    if not config.get('model'):
        raise ValueError(f'{what} has no model; it has {", ".join(sorted(config))}')
    check_scope(config)
    check_values(config)
    return config


def load_config(args: argparse.Namespace) -> Config:
    """Read the config that the flags of :func:`add_config_arguments` ask for.

    The work dir is ``--work-dir``, else the config's, else ``work_dirs/<config name>``.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If it or an option of ``--cfg-options`` is wrong, the work dir cannot be written, or the launcher's
            environment is not there.
    """
    local_rank = str(args.local_rank)
    if args.launcher == 'mpi':
        local_rank = os.environ.get('OMPI_COMM_WORLD_LOCAL_RANK', local_rank)
    os.environ.setdefault('LOCAL_RANK', local_rank)
    config = read_config(args.config, args.cfg_options)
    config.launcher = args.launcher
    _check_launcher(config)
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


def use_amp(config: Config, device: str) -> None:
    """Let a config train in mixed precision, as ``--amp`` asks for.

    Args:
        config: Changed in place.
        device: Where it is trained.

    Raises:
        ValueError: If that is a CPU, whose mixed precision mmengine's wrapper refuses, or the config has no optimizer
            or a wrapper of its own.
    """
    if device.partition(':')[0] not in ('cuda', 'musa', 'npu', 'mlu'):
        raise ValueError(f'--amp needs a GPU, and this is to run on {device}; leave it out')
    if not config.get('optim_wrapper'):
        raise ValueError('--amp: the config has no optim_wrapper')
    if (kind := type_name(config.optim_wrapper) or 'OptimWrapper') not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ValueError(
            f'--amp puts AmpOptimWrapper in the place of OptimWrapper, and the config has {kind}: leave --amp out, or '
            'set optim_wrapper.type'
        )
    config.optim_wrapper.type = 'AmpOptimWrapper'
    config.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if type_name(config.get('strategy') or {}) == 'FSDPStrategy':
        config.optim_wrapper.use_fsdp = True  # else each process skips the steps that its own shards are too large for


def check_device(device: str) -> None:
    """Refuse a device that is not here.

    Args:
        device: As ``--device`` names it.

    Raises:
        ValueError: If there is none of that name.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # which of them depends on how torch was built
        raise ValueError(f'--device {device}: {str(error).splitlines()[0]}') from error


def at_least(least: int) -> Callable[[str], int]:
    """The type of a flag that takes a whole number from ``least`` up."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f'must be a whole number from {least} up, got {text!r}')
        return int(text)

    return number


def check_optimizer(config: Config) -> None:
    """Refuse an optimizer that does not exist, which upstream asks for its arguments before it looks.

    Args:
        config: Of a runner that is built, whose toolkit is imported.

    Raises:
        ValueError: If there is none of that name.
    """
    name = (config.optim_wrapper.get('optimizer') or {}).get('type')
    if isinstance(name, str) and OPTIMIZERS.get(name) is None:
        near = nearest(name, OPTIMIZERS.module_dict)
        raise ValueError(f'optim_wrapper.optimizer.type={name!r}: there is no such optimizer{near}')


def _check_launcher(config: Config) -> None:
    if config.launcher == 'none':
        return
    needed, source = LAUNCHERS[config.launcher]
    if missing := [name for name in needed if name not in os.environ]:
        raise ValueError(
            f'--launcher {config.launcher} needs {", ".join(missing)} in the environment, which {source}; '
            'for one process leave --launcher out'
        )
    if get_device() == 'cpu':
        raise ValueError(
            f'--launcher {config.launcher} needs GPUs, one a process, and torch finds none here; on a CPU train in one '
            'process: leave --launcher out'
        )


def check_order(checkpoint: str) -> None:
    """Refuse a config that stands where the checkpoint belongs.

    Args:
        checkpoint: What a tool was given as its second argument.

    Raises:
        ValueError: If it ends as configs do.
    """
    if checkpoint.endswith(('.py', '.json', '.yaml', '.yml')):
        raise ValueError(
            f'{checkpoint!r} is a config where the checkpoint belongs; first comes CONFIG, then CHECKPOINT'
        )
