"""Resuming a training that was interrupted."""

import re
import zipfile
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from ..what_differs import what_differs
from .atomic_save import leftovers
from .config_text import keep_literals
from .loading import load_checkpoint_file

__all__ = ['checkpoint_hook', 'prepare_resume', 'saved_checkpoints']

TRAINING = ('model', 'optim_wrapper', 'param_scheduler')  # what decides about it beside data and length
NEEDED = ('state_dict', 'optimizer', 'message_hub', 'meta')


def prepare_resume(config: Config, checkpoint: str = 'auto') -> list[str]:
    """Let a config's training resume from a checkpoint, with the checkpoint's seed if the config names none.

    Args:
        config: Changed in place.
        checkpoint: Path or URL, or ``'auto'`` for the newest in the work dir that can be read. Newer ones are left
            alone; if there are no others, the training starts as if nothing had been asked for.

    Returns:
        What to tell the user once there is a log.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If it cannot be read, or if the work dir holds nothing but complete checkpoints that cannot be
            resumed, which a training from the beginning would overwrite.
    """
    notes: list[str] = []
    loaded: dict = {}
    chosen: str | Path | None = checkpoint
    if checkpoint == 'auto':
        folder, last = _folder(config), _last_checkpoint(config)
        paths = saved_checkpoints(config)
        if not paths and last and ('://' in last or Path(last).is_dir()):
            chosen = last  # on a server, or a folder, as DeepSpeed saves; upstream finds out whether it is whole
        else:
            chosen, loaded, notes = _newest_resumable(paths)
        if left := ', '.join(repr(file.name) for file in leftovers(folder)):
            notes.insert(0, f'the last save was cut off; {left} is left of it and the next save will remove it')
        if chosen is None:
            if config.get('resume'):
                config.load_from = None  # no initial weights, but where the training with this config went on from
            config.resume = False
            return [*notes, f'no checkpoint in {str(folder)!r} to resume from: the training starts from the beginning']
        if notes:
            notes.append(f'taking {Path(chosen).name}, the newest checkpoint that is whole')
    else:
        load = CheckpointLoader.load_checkpoint if '://' in checkpoint else load_checkpoint_file
        loaded = load(checkpoint, map_location='cpu')
    notes += _other_settings(config, loaded, str(chosen))
    config.resume, config.load_from = True, str(chosen)
    config.custom_hooks = [*(config.get('custom_hooks') or []), dict(type='ovkd_mm.CheckpointFitHook', needed=NEEDED)]
    randomness = config.get('randomness') or {}
    if randomness.get('seed') is None:
        # Upstream takes it over too, but only after samplers and loading processes have got another.
        config.randomness = dict(randomness, seed=(loaded.get('meta') or {}).get('seed'))
    return notes


def _other_settings(config: Config, loaded: dict, checkpoint: str) -> list[str]:
    """What to say where the training is set otherwise than when it began."""
    began = _settings((loaded.get('meta') or {}).get('cfg'))
    if 'model' not in began:
        return []
    differing = what_differs(began, _settings(config.pretty_text))  # through a text, too: that changes classes
    if not differing:
        return []
    more = f' and {len(differing) - 9} more' if len(differing) > 9 else ''
    return [
        f'{Path(checkpoint).name} comes from a training with another {", ".join(differing[:9])}{more}; it goes on with '
        "this config's"
    ]


def _settings(text: object) -> dict:
    """What a config text says of the training, read without running it."""
    content = Config.fromstring(keep_literals(text)[0], '.py').to_dict()
    return {key: content[key] for key in TRAINING if key in content}


def checkpoint_hook(config: Config) -> dict:
    """The settings of mmengine's ``CheckpointHook``."""
    return (config.get('default_hooks') or {}).get('checkpoint') or {}


def saved_checkpoints(config: Config) -> list[Path]:
    """The checkpoints of a config's work dir, the newest first, without those of an earlier training there.

    The newest may be newer than the one that mmengine has noted, if a kill came between the two.
    """
    return _newest_first(_folder(config), _template(config), _last_checkpoint(config))


def _folder(config: Config) -> Path:
    work_dir, out_dir = Path(config.work_dir), checkpoint_hook(config).get('out_dir')
    return work_dir if out_dir in (None, config.work_dir) else Path(out_dir, work_dir.name)


def _template(config: Config) -> str:
    hook = checkpoint_hook(config)
    return hook.get('filename_tmpl') or ('epoch_{}.pth' if hook.get('by_epoch', True) else 'iter_{}.pth')


def _last_checkpoint(config: Config) -> str:
    """What mmengine noted as the last one; empty if it was interrupted when it wanted to."""
    file = Path(config.work_dir, 'last_checkpoint')
    return file.read_text().strip() if file.is_file() else ''


def _newest_first(folder: Path, template: str, last: str) -> list[Path]:
    """Checkpoint files by falling number, without those that an earlier training left behind in the same folder."""
    name = re.compile(r'(\d+)'.join(map(re.escape, re.split(r'\{.*?\}', template))))
    matches = {path: name.fullmatch(path.name) for path in folder.glob('*') if path.is_file()}
    numbers = {path: int(match[1]) if name.groups else 0 for path, match in matches.items() if match}
    if not numbers:
        return [Path(last)] if Path(last).is_file() else []  # saved before the template was changed
    newest = folder / Path(last).name  # the path itself is wrong once the folder has been moved
    if newest in numbers:
        written = newest.stat().st_mtime_ns
        numbers = {p: n for p, n in numbers.items() if n <= numbers[newest] or p.stat().st_mtime_ns >= written}
    return sorted(numbers, key=numbers.__getitem__, reverse=True)


def _newest_resumable(paths: list[Path]) -> tuple[Path | None, dict, list[str]]:
    """The first that can be resumed and what it holds, and why those before it cannot."""
    notes = []
    for path in paths:
        try:
            loaded = _load_resumable(path)
        except ValueError as error:
            notes.append(f'{path.name} is skipped: {error}')
        else:
            return path, loaded, notes
    if any(map(zipfile.is_zipfile, paths)):
        raise ValueError(
            'nothing to resume from, but a training from the beginning would overwrite what is there: move it away, '
            f'choose another --work-dir or train without --resume. {". ".join(notes)}'
        )
    return None, {}, notes


def _load_resumable(path: Path) -> dict:
    loaded = load_checkpoint_file(path)
    missing = [key for key in NEEDED if key not in loaded]
    if missing:
        raise ValueError(f'it lacks {", ".join(missing)}, which a training needs to resume (save_optimizer=False?)')
    return loaded
