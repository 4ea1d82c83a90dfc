"""FeatureCache: a teacher's features on disk, so that it need not see an image twice."""

import contextlib
import hashlib
import io
import logging
import os
import re
import secrets
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from torch import Tensor, nn

from ..checkpoints.atomic_save import DAY
from ..compat.autocast import autocast_dtype
from ..number import number
from ..positions import Feature, Place, Span, ends_of
from .settings import half_precision

__all__ = ['FeatureCache']

Part = list[tuple[torch.dtype, Tensor]]  # of a feature: one image's
LOOK_AGAIN = 256  # writes, doubled each time, after which the folder is measured anew: other processes write, too
DRAFT = re.compile(r'[0-9a-f]{32}\.[0-9a-f]{8}')
HOPELESS = 2000  # images


class FeatureCache:
    """Keeps what a teacher makes of each image, in a file of its own.

    A file is found by a hash of the image's values as the teacher gets them, so each augmented version of an image is
    an image of its own: with random augmentation nothing is found again, which the log says. The files lie in a folder
    that is named by a hash of the teacher's weights, places and normalization; each teacher has its own.

    A file gets its name when it is complete, so a kill leaves no partial one, and several processes may share a folder.

    Args:
        folder: Folder of the files; created if it does not exist.
        dtype: ``'float16'`` or ``'bfloat16'`` stores features in half the space, but no longer bit for bit; one with a
            value above what that holds (65504 for float16), and by default all, are stored as they are.
        gigabytes: Limit of the folder's size. At the limit, or when the disk is full, no more features are stored.

    Attributes:
        hits: The fraction of the last batch that was found, from 0 to 1.

    Raises:
        ValueError: If the dtype is unknown or the size no number.
    """

    def __init__(self, folder: str, dtype: str | None = None, gigabytes: float = 100.0) -> None:
        self.dtype = half_precision('teacher.cache.dtype', dtype)
        self.root = Path(folder)
        self.limit = number('teacher.cache.gigabytes', gigabytes) * 2**30
        self.hits = 0.0
        self._found = self._asked = 0
        self._size = self._written = 0
        self._look_at = LOOK_AGAIN
        self._folder = self.root
        self._warned = False

    def belongs_to(self, teacher: nn.Module, places: Sequence[Place | Span], settings: str) -> None:
        """Say whose features these are.

        Args:
            teacher: With its weights.
            places: Where it is read.
            settings: What else determines the features.
        """
        digest = hashlib.blake2b(f'{places} {settings} {self.dtype} {torch.__version__}'.encode(), digest_size=16)
        for name, tensor in teacher.state_dict().items():
            digest.update(name.encode())
            digest.update(_numbers(tensor))
        self._folder = self.root / digest.hexdigest()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._size = self._measure()

    def names(self, inputs: Tensor) -> list[str]:
        """The name of each image of a batch ``(N, ...)``."""
        lowered = autocast_dtype(inputs.device.type)  # as features then are
        batch = inputs.detach().cpu()
        about = f'{tuple(batch.shape[1:])} {batch.dtype} {lowered}'.encode()
        return [hashlib.blake2b(about + bytes(_numbers(image)), digest_size=16).hexdigest() for image in batch]

    def read(self, names: Sequence[str], device: torch.device) -> list[Feature] | None:
        """The features of a batch; None if those of an image are not there.

        Args:
            names: Of the images.
            device: Where to put the features.
        """
        images = [self._load(name) for name in names]
        found = sum(image is not None for image in images)
        self.hits = found / len(images)
        self._asked += len(images)
        self._found += found
        if any(image is None for image in images):
            return None
        features = zip(*(image for image in images if image is not None), strict=True)
        return [_joined(feature, device) for feature in features]

    def write(self, names: Sequence[str], features: Sequence[Feature]) -> None:
        """Keep the features of a batch.

        Args:
            names: Of its images.
            features: One of each place.

        Raises:
            ValueError: If the first dimension of one is not that of the images.
        """
        self._warn_if_hopeless()
        for feature in features:
            ends = ends_of(feature)
            if any(len(end) != len(names) for end in ends):
                raise ValueError(
                    f'teacher.cache keeps the features of each image apart, and one for {len(names)} images has the '
                    f'shape {tuple(ends[-1].shape)}, as inside windowed attention: choose another place, or '
                    'leave the cache out'
                )
        for index, name in enumerate(names):
            if self._size >= self.limit:
                return
            if not self._file(name).exists():
                try:
                    self._save(name, [_part(feature, index, self.dtype) for feature in features])
                except (OSError, RuntimeError) as exc:  # the latter is what torch makes of a disk without room
                    self.limit = 0
                    print_log(
                        f'teacher.cache: {self.root} cannot be written to ({exc}); no more is kept',
                        'current',
                        level=logging.WARNING,
                    )

    def _file(self, name: str) -> Path:
        return self._folder / name[:2] / f'{name}.pt'

    def _load(self, name: str) -> list[Part] | None:
        file = self._file(name)
        try:
            content = io.BytesIO(file.read_bytes())
            with zipfile.ZipFile(content) as archive:
                if damaged := archive.testzip():  # torch compares no checksums
                    raise ValueError(damaged)
            content.seek(0)
            return torch.load(content, map_location='cpu', weights_only=True)
        except (OSError, MemoryError):  # not there, or not to be read at the moment
            return None
        except Exception:  # whatever a damaged file may raise: what it holds is made anew
            with contextlib.suppress(OSError):  # of a disk that cannot be written to
                file.unlink()
            return None

    def _save(self, name: str, features: list[Part]) -> None:
        file = self._file(name)
        file.parent.mkdir(exist_ok=True)
        draft = file.with_suffix(f'.{secrets.token_hex(4)}')
        try:
            torch.save(features, draft)
            self._size += draft.stat().st_size * get_world_size()  # the others write about as much
            os.replace(draft, file)
        finally:
            draft.unlink(missing_ok=True)
        self._written += 1
        if self._written == self._look_at:
            self._look_at *= 2
            self._size = self._measure()
        if self._size >= self.limit:
            print_log(f'teacher.cache: {self.root} is full ({self.limit / 2**30:g} GB); no more is kept', 'current')

    def _measure(self) -> int:
        """Bytes in the folder, other teachers' included; what killed processes were writing is removed."""
        total = 0
        for file in self.root.rglob('*'):
            with contextlib.suppress(OSError):  # gone in between
                if DRAFT.fullmatch(file.name) and time.time() - file.stat().st_mtime > DAY:
                    file.unlink()
                elif file.is_file():
                    total += file.stat().st_size
        return total

    def _warn_if_hopeless(self) -> None:
        if self._warned or self._asked < HOPELESS or self._found:
            return
        self._warned = True
        print_log(
            f'teacher.cache: none of the first {self._asked} images was seen before. If an epoch is shorter than that, '
            'the training pipeline augments at random, and the cache only fills the disk: remove it',
            logger='current',
            level=logging.WARNING,
        )


def _numbers(tensor: Tensor) -> memoryview:
    """A tensor's bytes."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data


def _part(feature: Feature, index: int, dtype: torch.dtype | None) -> Part:
    """One image's part of a feature: one tensor or two, each with the dtype that it has."""
    return [(end.dtype, _stored(end[index].detach(), dtype or end.dtype)) for end in ends_of(feature)]


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    lowered = tensor.to('cpu', dtype)
    held = lowered if dtype == tensor.dtype or lowered.isfinite().all() else tensor.cpu()
    return held.contiguous().clone()


def _joined(parts: Sequence[Part], device: torch.device) -> Feature:
    """A batch's feature."""
    ends = [torch.stack([tensor for _, tensor in end]).to(device, end[0][0]) for end in zip(*parts, strict=True)]
    return ends[0] if len(ends) == 1 else (ends[0], ends[1])
