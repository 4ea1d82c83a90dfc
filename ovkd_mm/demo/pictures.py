"""Detections drawn on images."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib
import mmcv
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import get_box_tensor
from mmdet.visualization import DetLocalVisualizer
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.structures import InstanceData

from ..checkpoints.loading import load_checkpoint_file
from ..checkpoints.state_dict import load_strictly, model_weights
from ..registry import DATASETS, MODELS

__all__ = ['MIN_SCORE', 'draw_detections', 'load_detector']

MIN_SCORE = 0.2  # low, for minutes of training make no confident detector
LONG_SIDE = 640  # pixels; names are drawn in one size, for which small images have no room


def load_detector(config: Config, checkpoint: Path) -> BaseModel:
    """The detector of a plain config with the weights of a checkpoint, which may be a distillation's."""
    model = MODELS.build(config.model)
    load_strictly(model, model_weights(load_checkpoint_file(checkpoint)), str(checkpoint))
    return model.eval()


@torch.no_grad()
def draw_detections(models: Iterable[BaseModel], dataset: dict, count: int) -> list[list[np.ndarray]]:
    """Draw true boxes and detections on the first images of a data set.

    Args:
        models: The detectors.
        dataset: Config of the data set, as a validation dataloader has it.
        count: Number of images.

    Returns:
        A row an image: the true boxes, then one picture a model, ``[H, W, 3]``, uint8, RGB.
    """
    images = DATASETS.build(dataset)
    batch = pseudo_collate([images[index] for index in range(min(count, len(images)))])
    visualizer = DetLocalVisualizer(line_width=3)
    colors = [tuple(round(255 * c) for c in color) for color in matplotlib.color_sequences['tab10']]
    classes = [name.replace('$', r'\$') for name in images.metainfo['classes']]  # no formulas
    visualizer.dataset_meta = dict(classes=classes, palette=colors * (len(classes) // len(colors) + 1))
    rows = [[_draw(visualizer, sample, gt_instances=sample.gt_instances)] for sample in batch['data_samples']]
    for model in models:
        for row, sample in zip(rows, model.test_step(batch), strict=True):
            row.append(_draw(visualizer, sample, pred_instances=sample.pred_instances))
    return rows


def _draw(visualizer: DetLocalVisualizer, sample: DetDataSample, **kind: InstanceData) -> np.ndarray:
    image = mmcv.imread(sample.img_path, channel_order='rgb')
    scale = LONG_SIDE / max(image.shape[:2])
    kind = {name: instances.clone() for name, instances in kind.items()}
    for instances in kind.values():
        instances.bboxes = get_box_tensor(instances.bboxes) * scale
    visualizer.add_datasample(
        'detections',
        mmcv.imrescale(image, scale),
        DetDataSample(**kind),
        draw_gt='gt_instances' in kind,
        draw_pred='pred_instances' in kind,
        pred_score_thr=MIN_SCORE,
    )
    return visualizer.get_image()
