_base_ = './wrn28-4_cifar100.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='ovkd_mm.PyramidNet',
        depth=200,
        alpha=240,
        bottleneck=True),
    head=dict(in_channels=1024))

train_dataloader = dict(batch_size=64)
auto_scale_lr = dict(base_batch_size=64)
