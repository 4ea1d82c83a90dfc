"""Painting predictions on images, by the toolkits' own inferencers."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import CheckpointLoader
from rich.progress import track

from ..checkpoints.state_dict import load_strictly, model_weights
from ..config_files import model_of
from ..toolkits import TOOLKITS
from ..whole_image import run_pipeline
from .cli import check_device

__all__ = ['build_painter', 'paint', 'picture_files']

Painter = Callable[[str], np.ndarray]

# As mmdet has them.
IMAGES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')
WRITTEN = ('.jpg', '.jpeg', '.png')  # the others hold no colors, or need a codec that OpenCV may lack
SMALL = 224  # below, the text on a classified picture is too small to be read


def picture_files(inputs: Iterable[str], out_dir: str) -> dict[Path, Path]:
    """Choose a file for the picture of each image.

    ``out_dir`` mirrors the structure of the images below their common parent folder, so no picture replaces another.

    Args:
        inputs: Images, and folders that are searched recursively for images.
        out_dir: Folder of the pictures; below a folder that is searched, it is not.

    Returns:
        The files by image, each image once.

    Raises:
        FileNotFoundError: If an input does not exist or a folder holds no image.
        ValueError: If a file is there already, in place of the folder too, or would be of two images.
    """
    out = Path(os.path.abspath(out_dir))
    if out.exists() and not out.is_dir():
        raise ValueError(f'--out-dir {out_dir!r} is a file; name a folder')
    images = list(dict.fromkeys(image for name in inputs for image in _images(name, out)))
    shared = os.path.commonpath([image.parent for image in images])
    files = {}
    for image in images:
        file = out / image.relative_to(shared)
        files[image] = file if file.suffix.lower() in WRITTEN else file.with_name(f'{file.name}.png')
    named: dict[Path, Path] = {}
    for image, file in files.items():
        if (other := named.setdefault(file, image)) != image:
            raise ValueError(
                f'the pictures of {str(other)!r} and {str(image)!r} would both be {file.name!r}; rename one'
            )
    taken = [file for file in files.values() if file.exists()]
    if taken:
        raise ValueError(
            f'{len(taken)} of the {len(files)} pictures are there already and are not overwritten, the first is '
            f'{str(taken[0])!r}; move them away or choose another --out-dir'
        )
    return files


def _images(name: str, out: Path) -> list[Path]:
    path = Path(os.path.abspath(Path(name).expanduser()))
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f'the image {name!r} does not exist')
        return [path]
    found = [file for file in _files(path, but=out) if file.suffix.lower() in IMAGES]
    if not found:
        raise FileNotFoundError(f'the folder {name!r} holds no image; they end with {", ".join(IMAGES)}')
    return sorted(found)


def _files(root: Path, but: Path) -> Iterator[Path]:
    """The files below a folder and below folders that are linked to there, each folder once and one not at all."""
    seen = {os.path.realpath(root), os.path.realpath(but)}
    for folder, folders, files in os.walk(root, followlinks=True):
        yield from (Path(folder, name) for name in files)
        below = {os.path.realpath(Path(folder, name)): name for name in sorted(folders)}
        folders[:] = [name for real, name in below.items() if real not in seen]
        seen.update(below)


def build_painter(config: Config, checkpoint: str, device: str, score_thr: float = 0.3) -> Painter:
    """Build the inferencer of a config's toolkit.

    Args:
        config: A plain config.
        checkpoint: Path or URL of weights that fit it, a distillation's or a student's.
        device: Where to predict.
        score_thr: Boxes with a lower score are not painted.

    Returns:
        A function from the path of an image to an RGB picture.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If it cannot be read or does not fit, the config is of none of the toolkits or lacks
            ``test_dataloader``, or there is no such device.
    """
    check_device(device)
    scope = config.get('default_scope')
    if scope not in PAINTERS:
        raise ValueError(f'default_scope={scope!r} of the config: predictions of {", ".join(PAINTERS)} can be painted')
    if not config.get('test_dataloader'):
        raise ValueError('the config has no test_dataloader, whose pipeline prepares the images')
    init_default_scope(scope)
    config.model = model_of(config)
    visualizer = {'type': TOOLKITS[scope].visualizer, **config.get('visualizer', {})}
    # What is painted goes to the user's folder alone, not to TensorBoard or the like.
    config.visualizer = {key: value for key, value in visualizer.items() if key not in ('vis_backends', 'save_dir')}
    return PAINTERS[scope](config, checkpoint, device, score_thr)


def paint(painter: Painter, files: dict[Path, Path]) -> None:
    """Paint pictures with a progress bar.

    Args:
        painter: Of :func:`build_painter`.
        files: Of :func:`picture_files`.

    Raises:
        ValueError: When all is done, if images could not be read; at once, if the model predicts nothing that can be
            painted.
    """
    load, broken = LoadImageFromFile(), []
    for image, file in track(files.items(), description='Painting'):
        try:
            run_pipeline(load, dict(img_path=str(image)))
        except (ValueError, OSError) as error:
            broken.append(str(error))
            continue
        mmcv.imwrite(painter(str(image))[..., ::-1], str(file))
    if broken:
        others = f', {len(broken) - 1} more cannot be read either' if len(broken) > 1 else ''
        raise ValueError(f'{broken[0]}. It is left out{others}; painted: {len(files) - len(broken)}')


def _detector(config: Config, checkpoint: str, device: str, score_thr: float) -> Painter:
    from mmdet.apis import DetInferencer

    inferencer = _that_loads_strictly(DetInferencer, checkpoint)(config, checkpoint, device, show_progress=False)
    meta = inferencer.visualizer.dataset_meta
    if len(meta['palette']) < len(meta['classes']):  # mmdet's data sets keep theirs whatever the classes
        meta['palette'] = 'random'
    return lambda image: inferencer(image, return_vis=True, pred_score_thr=score_thr)['visualization'][0]


def _segmentor(config: Config, checkpoint: str, device: str, _: float) -> Painter:
    from mmseg.apis import MMSegInferencer

    inferencer = _that_loads_strictly(MMSegInferencer, checkpoint)(config, checkpoint, device=device)
    inferencer.show_progress = False
    return lambda image: inferencer(image, return_vis=True, opacity=0.5)['visualization']


def _classifier(config: Config, checkpoint: str, device: str, _: float) -> Painter:
    from mmpretrain import ImageClassificationInferencer, get_model
    from mmpretrain.visualization import UniversalVisualizer

    model = get_model(config, pretrained=False)
    loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu')
    load_strictly(model, model_weights(loaded), checkpoint)
    inferencer = ImageClassificationInferencer(model, device=device, classes=_meta(loaded, config).get('classes'))
    visualizer = UniversalVisualizer()

    def painter(image: str) -> np.ndarray:
        (batch,) = inferencer.preprocess([image])
        (sample,) = inferencer.forward(batch)
        if 'pred_label' not in sample:
            raise ValueError(
                f'a {type(model.head).__name__} predicts {", ".join(sorted(sample.keys()))}, and only classes '
                "(pred_label) can be painted; read the others from the model's inferencer"
            )
        pixels = mmcv.imread(image, channel_order='rgb')
        resize = SMALL if min(pixels.shape[:2]) < SMALL else None
        return visualizer.visualize_cls(pixels, sample, inferencer.classes, draw_gt=False, resize=resize)

    return painter


PAINTERS = dict(mmdet=_detector, mmseg=_segmentor, mmpretrain=_classifier)


def _that_loads_strictly(inferencer: type, source: str) -> type:
    """A kind of mmengine's inferencer to which weights that do not fit are an error; upstream only warns."""

    class StrictInferencer(inferencer):
        def _load_weights_to_model(self, model: torch.nn.Module, checkpoint: dict, cfg: Config) -> None:
            weights = model_weights(checkpoint)
            load_strictly(model, weights, source)
            meta = dict(dataset_meta=_meta(checkpoint, cfg))
            super()._load_weights_to_model(model, dict(state_dict=weights, meta=meta), cfg)

    return StrictInferencer


def _meta(checkpoint: dict, config: Config) -> dict:
    """Classes and palette that a checkpoint was trained with; of the config's data set where it does not say."""
    meta = {key.lower(): value for key, value in (checkpoint.get('meta') or {}).items()}  # CLASSES once
    meta = meta.get('dataset_meta') or {key: meta[key] for key in ('classes', 'palette') if key in meta}
    return meta or DATASETS.build(dict(config.test_dataloader.dataset, lazy_init=True)).metainfo
