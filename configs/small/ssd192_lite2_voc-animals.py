# SSD at 192x192 on the six animal classes and people that VOC-animals has (see the README), in minutes on a CPU.
_base_ = '../ssd300/ssd300_r50_voc0712.py'

size = 192
classes = ('cat', 'cow', 'dog', 'horse', 'person', 'sheep')
channels = (48, 120, 352, 256, 256, 256)  # at 24x24, 12x12, 6x6, 3x3, 2x2 and 1x1
sizes = [19, 38, 71, 104, 136, 169, 202]  # SSD300's anchors, scaled
model = dict(
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(
        _delete_=True,
        type='mmpretrain.TIMMBackbone',
        model_name='tf_efficientnet_lite2',
        features_only=True,
        pretrained=True,
        out_indices=(2, 3, 4)),
    neck=dict(in_channels=channels[:3], out_channels=channels, level_strides=(2, 2, 2), level_paddings=(1, 1, 1)),
    bbox_head=dict(
        in_channels=channels,
        num_classes=len(classes),
        anchor_generator=dict(
            _delete_=True,
            type='SSDAnchorGenerator',
            scale_major=False,
            input_size=size,
            strides=[8, 16, 32, 64, 96, 192],
            ratios=[[2], [2, 3], [2, 3], [2, 3], [2], [2]],
            min_sizes=sizes[:-1],
            max_sizes=sizes[1:])))

data = dict(metainfo=dict(classes=classes), skip_other_classes=True)
train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    dataset=dict(
        **data,
        ann_file='VOC2012/ImageSets/Main/train.txt',
        filter_cfg=dict(filter_empty_gt=True, min_size=12),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='MinIoURandomCrop', min_ious=(0.3, 0.5, 0.7, 0.9), min_crop_size=0.3),
            dict(type='Resize', scale=(size, size), keep_ratio=False),
            dict(type='RandomFlip', prob=0.5),
            dict(
                type='PhotoMetricDistortion',
                brightness_delta=32,
                contrast_range=(0.5, 1.5),
                saturation_range=(0.5, 1.5),
                hue_delta=18),
            dict(type='PackDetInputs')
        ]))
val_dataloader = dict(
    batch_size=16,
    num_workers=2,
    dataset=dict(
        **data,
        ann_file='VOC2012/ImageSets/Main/val.txt',
        test_mode=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(size, size), keep_ratio=False),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(
                type='PackDetInputs',
                meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
        ]))
test_dataloader = val_dataloader
val_evaluator = dict(eval_mode='area')
test_evaluator = val_evaluator

iters = 1000
train_cfg = dict(max_iters=iters, val_interval=500)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))),
    clip_grad=dict(max_norm=10.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=100, end=iters)
]
auto_scale_lr = dict(base_batch_size=16)
default_hooks = dict(checkpoint=dict(interval=500, max_keep_ckpts=1))
custom_hooks = [dict(type='ovkd_mm.ChannelsLastHook')]
