"""What a folder in Pascal VOC's layout holds: its splits and its classes."""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from ..datasets.annotation_xml import refuse_entities
from ..datasets.split_list import read_split

__all__ = ['VOCFolder', 'read_voc_folder']

SPLITS = (('train', 'val'), ('trainval', 'test'))


@dataclass(frozen=True)
class VOCFolder:
    """A folder with ``JPEGImages``, ``Annotations`` and ``ImageSets/Main``.

    Attributes:
        root: The folder.
        train: Name of the split to train on.
        val: Name of the split to evaluate on.
        classes: The names of all classes in both splits, sorted.
    """

    root: Path
    train: str
    val: str
    classes: tuple[str, ...]


def read_voc_folder(path: str | Path) -> VOCFolder:
    """Find out what a VOC-format folder holds.

    The splits are the first pair whose lists and files are all there: ``train`` and ``val``, ``trainval`` and
    ``test``, or any ``<name>_train`` and ``<name>_val`` (VOC's own lists of one class, with two columns, do not count).

    Args:
        path: The folder, or one above it: ``VOC2012``, ``VOCdevkit`` or what holds ``VOCdevkit``.

    Raises:
        FileNotFoundError: If there is no such folder, or a listed image or annotation is not there.
        ValueError: If the folder is not in VOC's layout, holds several data sets, has no pair of splits, an id is
            listed twice or leads out of the folder, an annotation is broken or there is no object in it.
    """
    root = _find_root(Path(path))
    complaints = []
    for pair in _candidates(root):
        train, val = (_ids(root, split) for split in pair)
        if train and val:
            ids = train + val
            missing = _missing(root, ids)
            if not missing:
                break
            complaints.append(
                f'{len(missing)} of the {2 * len(ids)} files that {pair[0]}.txt and {pair[1]}.txt of {root} ask for do '
                f'not exist; the first is {str(missing[0])!r}'
            )
    else:
        if complaints:
            raise FileNotFoundError(complaints[0])
        raise ValueError(
            f'{root / "ImageSets/Main"} needs train.txt and val.txt, or trainval.txt and test.txt, one image id a line'
        )
    classes = {name for image_id in ids for name in _class_names(root / 'Annotations' / f'{image_id}.xml')}
    if not classes:
        raise ValueError(f'{root / "Annotations"} holds no <object> for the images of {pair[0]}.txt and {pair[1]}.txt')
    return VOCFolder(root, *pair, classes=tuple(sorted(classes)))


def _find_root(path: Path) -> Path:
    if not path.is_dir():
        raise FileNotFoundError(f'{path} is not a folder')
    found = sorted(
        folder.parents[1] for pattern in ('', '*/', '*/*/') for folder in path.glob(f'{pattern}ImageSets/Main')
    )
    if not found:
        raise ValueError(f'{path} is not in VOC format: it needs JPEGImages, Annotations and ImageSets/Main')
    if len(found) > 1:
        raise ValueError(f'{path} holds several data sets; name one of {", ".join(map(str, found))}')
    return found[0]


def _candidates(root: Path) -> list[tuple[str, str]]:
    named = sorted(file.stem.removesuffix('train') for file in (root / 'ImageSets/Main').glob('*_train.txt'))
    return [*SPLITS, *((f'{name}train', f'{name}val') for name in named)]


def _ids(root: Path, split: str) -> list[str]:
    """The image ids of a split; none if there is no such split or it is a list of one class."""
    file = root / 'ImageSets/Main' / f'{split}.txt'
    lines = file.read_text().splitlines() if file.is_file() else []
    columns = {len(line.split()) for line in lines if line.strip()}
    return read_split(str(file), str(root), fix='') if columns == {1} else []


def _missing(root: Path, ids: list[str]) -> list[Path]:
    files = (
        root / folder / f'{image_id}.{suffix}'
        for folder, suffix in (('JPEGImages', 'jpg'), ('Annotations', 'xml'))
        for image_id in ids
    )
    return [file for file in files if not file.is_file()]


def _class_names(file: Path) -> set[str]:
    content = file.read_bytes()
    try:
        refuse_entities(content)
        names = {thing.findtext('name') or '' for thing in ET.fromstring(content).iter('object')}
    except ET.ParseError as error:
        raise ValueError(f'{str(file)!r} is not well-formed XML: {error}') from error
    except ValueError as error:
        raise ValueError(f'{str(file)!r}: {error}') from error
    for name in names:
        if not name.isprintable():  # it becomes a class, and a terminal obeys what it is told in a table, too
            raise ValueError(f'{str(file)!r} names a class with characters that cannot be printed, {name!r}')
    return names
