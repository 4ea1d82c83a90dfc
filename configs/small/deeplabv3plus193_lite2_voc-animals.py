# DeepLabV3+ at 193x193 with output stride 16 on VOC-animals' masks (see the README).
_base_ = '../deeplabv3plus/deeplabv3plus_r101_voc12aug-513.py'

crop_size = (193, 193)
model = dict(
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0], size=crop_size),
    backbone=dict(
        _delete_=True,
        type='mmpretrain.TIMMBackbone',
        model_name='tf_efficientnet_lite2',
        features_only=True,
        pretrained=True,
        output_stride=16,
        out_indices=(1, 4)),
    decode_head=dict(in_channels=352, c1_in_channels=24, channels=128))

train_dataloader = dict(
    batch_size=12,
    num_workers=2,
    sampler=dict(type='InfiniteSampler'),
    dataset=dict(
        ann_file='ImageSets/Segmentation/train.txt',
        data_prefix=dict(seg_map_path='SegmentationClassAug'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='ovkd_mm.LoadMask'),
            dict(type='RandomResize', scale=(772, 193), ratio_range=(0.75, 1.5), keep_ratio=True),
            dict(type='RandomCrop', crop_size=crop_size),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs')
        ]))
val_dataloader = dict(
    num_workers=2,
    dataset=dict(
        ann_file='ImageSets/Segmentation/val.txt', data_prefix=dict(seg_map_path='SegmentationClassAug')))
test_dataloader = val_dataloader

iters = 1000
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=iters, val_interval=iters)
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
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=500, max_keep_ckpts=1))
log_processor = dict(by_epoch=False)
custom_hooks = [dict(type='ovkd_mm.ChannelsLastHook')]
