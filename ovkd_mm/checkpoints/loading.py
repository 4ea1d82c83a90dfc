"""Loads checkpoints, for our tools and for mmengine, without running code that hides in them."""

import functools
import os
import pickle
import re
import shlex
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import IO, Any
from urllib.parse import urlparse

import torch

from . import restricted_pickle
from .config_text import disarm
from .timm_weights import PREFIX, load_from_timm


def load_checkpoint_file(path: str | os.PathLike, map_location: Any = 'cpu') -> dict:
    """Load a checkpoint: tensors, plain Python values and mmengine's log histories, nothing that could run code.

    Args:
        path: The file, as ``torch.save`` wrote it, or ``*.safetensors``. A leading ``~`` is the home directory.
        map_location: Where to put the tensors, as in ``torch.load``.

    Returns:
        What the file holds.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, is not a checkpoint, or names a class or function that is not known to be safe.
    """
    checkpoint = _load_file(path, map_location)
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f'{str(path)!r} holds a {type(checkpoint).__name__}, not a checkpoint; expected a dict of weights, or one '
            "with the weights under 'state_dict'"
        )
    disarm(checkpoint, str(path))
    return checkpoint


def register_loaders(mmengine_checkpoint: ModuleType) -> None:
    """Let mmengine load files and URLs as safely.

    Args:
        mmengine_checkpoint: ``mmengine.runner.checkpoint``.
    """
    loader = mmengine_checkpoint.CheckpointLoader
    loader.register_scheme(prefixes='', loader=load_from_local, force=True)
    loader.register_scheme(prefixes=PREFIX, loader=load_from_timm, force=True)
    vars(mmengine_checkpoint).update(
        load_url=_load_url,  # what all schemes call that download over HTTP
        torch=_torch_that_loads_safely(),  # what the others call
    )
    upstream = loader.load_checkpoint.__func__
    if not hasattr(upstream, '__wrapped__'):

        @functools.wraps(upstream)
        def load_checkpoint(cls: type, filename: str, map_location: Any = None, logger: Any = 'current') -> Any:
            checkpoint = upstream(cls, filename, map_location, logger)
            disarm(checkpoint, filename, logger)
            return checkpoint

        loader.load_checkpoint = classmethod(load_checkpoint)


def _torch_that_loads_safely() -> ModuleType:
    module = ModuleType('torch')
    vars(module).update(__getattr__=functools.partial(getattr, torch), load=_load_path_or_buffer)
    return module


def _load_path_or_buffer(file: str | os.PathLike | IO[bytes], map_location: Any = None) -> Any:
    return _load_file(file, map_location) if isinstance(file, str | os.PathLike) else _load(file, map_location)


def load_from_local(filename: str, map_location: Any) -> Any:
    """Load a file for mmengine, which takes the name of the backend that it logs from this function's."""
    return _load_file(filename, map_location)


def _load_url(url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True) -> Any:
    """Download a checkpoint to where ``torch.hub`` keeps them, unless it is there, and load it."""
    path = Path(model_dir or Path(torch.hub.get_dir(), 'checkpoints')) / PurePosixPath(urlparse(url).path).name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=progress)
    return _load_file(path, map_location)


def _load_file(path: str | os.PathLike, map_location: Any) -> Any:
    if not os.fspath(path):
        raise FileNotFoundError("checkpoint '' is an empty text; name a file")
    path = Path(path).expanduser()
    if not path.is_file():
        what = 'is a folder, not a checkpoint file' if path.is_dir() else 'does not exist'
        raise FileNotFoundError(f'checkpoint {str(path)!r} {what}; check the path')
    try:
        if path.suffix == '.safetensors':
            return _load_safetensors(path)
        with path.open('rb') as file:
            return _load(file, map_location)
    except (PermissionError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        raise ValueError(_explain(path, error)) from error


def _load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file as timm and transformers write them, on the CPU."""
    from safetensors.torch import load_file  # here, since most trainings never need it

    return load_file(path)


def _load(file: IO[bytes], map_location: Any) -> Any:
    size, records = file.seek(0, os.SEEK_END), None
    file.seek(0)
    if file.read(4) == b'PK\x03\x04':  # what torch takes for a zip
        file.seek(0)
        if 'constants.pkl' in torch._C.PyTorchFileReader(file).get_all_records():
            raise ValueError('it is a TorchScript program')  # torch.load would run it
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size > size for entry in entries):
            raise ValueError('it is compressed, which torch.save never does, and may be far bigger inside')
        records = {entry.filename.partition('/')[2]: entry.file_size for entry in entries}
    else:
        file.seek(0)
        if tarfile.is_tarfile(file):
            raise ValueError('it is a tar archive, as torch wrote them before 2017')
    file.seek(0)
    with torch.sparse.check_sparse_tensor_invariants():
        return torch.load(file, map_location, restricted_pickle.limited_to(size, records), weights_only=False)


def _explain(path: Path, error: Exception) -> str:
    refused = re.search(r'GLOBAL (\S+)', str(error)) if isinstance(error, pickle.UnpicklingError) else None
    if refused:
        code = (
            "import sys, torch; c = torch.load(sys.argv[1], weights_only=False, map_location='cpu'); "
            "c = c.state_dict() if hasattr(c, 'state_dict') else c.get('state_dict', c.get('model', c)); "
            "torch.save({'state_dict': {k: v for k, v in c.items() if torch.is_tensor(v)}}, 'weights.pth')"
        )
        return (
            f'checkpoint {str(path)!r} was refused, and nothing in it was run: it asks for {refused[1]!r}, which is '
            'not known to be safe, and such a file could run any code on this computer. If you trust where it comes '
            f'from, save its weights alone with `python -c "{code}" {shlex.quote(str(path))}` and use weights.pth'
        )
    reason = re.split(r'\n|\. ', str(error).strip())[0]
    return (
        f'{str(path)!r} cannot be read as a checkpoint ({type(error).__name__}: {reason}). It is cut short, damaged or '
        'not a file that torch.save wrote: copy or download it again (a cached download must be deleted first)'
    )


__all__ = ['load_checkpoint_file']
