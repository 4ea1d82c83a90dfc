_base_ = 'mmdet::pascal_voc/ssd300_voc0712.py'

# Both years in one data set, so that a folder of one's own takes two options on the command line (see the README).
data_root = 'data/VOCdevkit/'
train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    sampler=dict(type='InfiniteSampler'),
    batch_sampler=None,  # every input is 300x300, so there are no aspect ratios to group by
    dataset=dict(
        _delete_=True,
        type='ovkd_mm.VOCDataset',
        data_root=data_root,
        ann_file=['VOC2007/ImageSets/Main/trainval.txt', 'VOC2012/ImageSets/Main/trainval.txt'],
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(
    batch_size=8,
    dataset=dict(
        _delete_=True,
        type='ovkd_mm.VOCDataset',
        data_root=data_root,
        ann_file='VOC2007/ImageSets/Main/test.txt',
        test_mode=True,
        pipeline={{_base_.test_pipeline}}))
test_dataloader = val_dataloader

# The schedule of the SSD paper: 120k iterations of 32 images, a tenth of the rate at 80k and 100k.
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=120000, val_interval=10000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=120000, milestones=[80000, 100000], gamma=0.1)
]
auto_scale_lr = dict(base_batch_size=32)

default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),  # else metrics are logged at step 0
    checkpoint=dict(by_epoch=False, interval=10000, save_best='pascal_voc/mAP', rule='greater'))
log_processor = dict(by_epoch=False)
