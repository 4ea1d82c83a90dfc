_base_ = './wrn28-4_cifar100.py'
model = dict(backbone=dict(depth=16, width=2), head=dict(in_channels=128))
