"""The detectors of ``configs/ssd300``, small enough to train in minutes on two cores."""

import math
from dataclasses import dataclass

from mmengine.config import Config, ConfigDict

from ..config_files import is_distillation
from .voc_folder import VOCFolder

__all__ = ['Plan', 'shrink']

LONG_SCHEDULE_ONLY = ('Expand', 'MinIoURandomCrop')  # augmentations that make learning slower at first


@dataclass(frozen=True)
class Plan:
    """How small the demo is. The student alone and the distilled one share every figure.

    The figures were settled on images of other seeds than the demo's, then cut until it took less than six minutes.

    Attributes:
        size: Height and width of the inputs, in pixels.
        batch_size: Images an iteration.
        teacher_iters: Iterations of the teacher.
        student_iters: Iterations of each student.
        teacher_lr: Peak learning rate of the teacher.
        student_lr: Peak learning rate of each student; MobileNetV1 hardly learns at the teacher's in so few iterations.
        train_images: Images of the generated training split.
        val_images: Images to evaluate on: of the generated split, or the first ones of a data set of one's own.
    """

    size: int = 96
    batch_size: int = 11
    teacher_iters: int = 300
    student_iters: int = 350
    teacher_lr: float = 1e-3
    student_lr: float = 8e-3
    train_images: int = 1600
    val_images: int = 200


def shrink(config: Config, data: VOCFolder, plan: Plan, iters: int, lr: float) -> Config:
    """Change a config of ``configs/ssd300`` to the demo's data, input size and schedule, in place."""
    detector = config.model.student if is_distillation(config) else config.model
    _shrink_detector(detector, plan.size, len(data.classes))
    if is_distillation(config):
        config.model.input_shape = (plan.size, plan.size)
        config.model.method.loss.loss_weight = 'auto'  # the paper gives none for such an input size
    for loader, split in ((config.train_dataloader, data.train), (config.val_dataloader, data.val)):
        loader.update(batch_size=plan.batch_size, num_workers=2, persistent_workers=False)
        loader.dataset.update(
            data_root=str(data.root.resolve()),
            ann_file=f'ImageSets/Main/{split}.txt',
            metainfo=dict(classes=data.classes),
            pipeline=[t for t in loader.dataset.pipeline if t.type not in LONG_SCHEDULE_ONLY],
        )
        for transform in loader.dataset.pipeline:
            if transform.type == 'Resize':
                transform.scale = (plan.size, plan.size)
    config.val_dataloader.dataset.indices = plan.val_images
    config.test_dataloader = config.val_dataloader
    config.val_evaluator.eval_mode = config.test_evaluator.eval_mode = 'area'

    warm_up = max(iters // 10, 1)
    config.train_cfg.update(max_iters=iters, val_interval=max(iters // 2, 1))
    config.optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=lr, weight_decay=0.05))
    config.param_scheduler = [
        dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warm_up),
        dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=warm_up, end=iters),
    ]
    config.default_hooks.logger.interval = config.log_processor.window_size = max(iters // 40, 1)
    config.default_hooks.checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=max(iters // 4, 1), max_keep_ckpts=1
    )
    config.custom_hooks = [*config.get('custom_hooks', []), dict(type='ovkd_mm.ChannelsLastHook')]
    return config


def _shrink_detector(detector: ConfigDict, size: int, num_classes: int) -> None:
    """An SSD300 for another input size, trained from scratch."""
    detector.backbone.init_cfg = None  # no download
    levels = len(detector.neck.out_channels)
    extra_levels = levels - len(detector.neck.in_channels)
    # SSD300's last two levels shrink by unpadded convolutions, for which a smaller input leaves too few pixels.
    detector.neck.update(level_strides=(2,) * extra_levels, level_paddings=(1,) * extra_levels)
    cells = [math.ceil(size / 2 ** (level + 3)) for level in range(levels)]
    edges = [round(size * ratio) for ratio in (0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05)]  # SSD300's on VOC
    anchors = detector.bbox_head.anchor_generator
    anchors.pop('basesize_ratio_range')
    anchors.update(input_size=size, strides=[size / n for n in cells], min_sizes=edges[:-1], max_sizes=edges[1:])
    detector.bbox_head.num_classes = num_classes
