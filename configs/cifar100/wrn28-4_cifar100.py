_base_ = [
    'mmpretrain::_base_/datasets/cifar100_bs16.py',
    'mmpretrain::_base_/schedules/cifar10_bs128.py',
    'mmpretrain::_base_/default_runtime.py'
]

model = dict(
    type='ImageClassifier',
    backbone=dict(type='ovkd_mm.WideResNet', depth=28, width=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=100,
        in_channels=256,
        loss=dict(type='CrossEntropyLoss')))

# The OFD authors' input: these statistics, and 4 reflected pixels at each side. The first crop
# only pads (its argument `padding` is black whatever the mode).
data_preprocessor = dict(mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7])
train_pipeline = [
    dict(type='RandomCrop', crop_size=40, pad_if_needed=True, padding_mode='reflect'),
    dict(type='RandomCrop', crop_size=32),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs')
]
loader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='default_collate'))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline), **loader)
val_dataloader = loader
test_dataloader = loader

# lr 0.1, a tenth of it from epoch 100 and a hundredth from epoch 150 to 200: mmpretrain's.
optim_wrapper = dict(optimizer=dict(weight_decay=5e-4, nesterov=True))
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=3, save_best='accuracy/top1'))
