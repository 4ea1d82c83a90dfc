_base_ = 'mmseg::_base_/default_runtime.py'

crop_size = (513, 513)
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=crop_size),
    backbone=dict(
        type='ResNet',
        depth=101,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        multi_grid=(2, 4, 8),  # (1, 2, 4) times the last stage's rate, which mmseg leaves out where there is a grid
        out_indices=(0, 3),
        norm_cfg=norm_cfg,
        norm_eval=False,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')),
    decode_head=dict(
        type='ovkd_mm.DeepLabV3PlusHead',
        in_channels=2048,
        c1_in_channels=256,
        channels=256,
        num_classes=21,
        norm_cfg=norm_cfg,
        align_corners=True,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    test_cfg=dict(mode='whole'))

# The README names these by their index (0 to 5) for a smaller crop.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ovkd_mm.LoadMask'),
    # The short side gets 0.5 to 2 times 513; the long side could have four times that.
    dict(type='RandomResize', scale=(2052, 513), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs')
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='ovkd_mm.LoadMask'), dict(type='PackSegInputs')]
data_root = 'data/VOCdevkit/VOC2012'
train_dataloader = dict(
    batch_size=12,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,  # the batch norm after the image pooling cannot train on a last batch of one image
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ovkd_mm.PascalVOCDataset',
        data_root=data_root,
        ann_file=['ImageSets/Segmentation/train.txt', 'ImageSets/Segmentation/aug.txt'],
        data_prefix=dict(img_path='JPEGImages', seg_map_path=['SegmentationClass', 'SegmentationClassAug']),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ovkd_mm.PascalVOCDataset',
        data_root=data_root,
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

# The rate falls with every iteration, (1 - iteration / all) ** 0.9, over as many epochs as train_cfg says.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=50, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.007, momentum=0.9, nesterov=True, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.0))))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=True, convert_to_iter_based=True)]
auto_scale_lr = dict(enable=False, base_batch_size=12)

default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=3, save_best='mIoU', rule='greater'),
    visualization=dict(type='SegVisualizationHook'))
log_processor = dict(by_epoch=True)
