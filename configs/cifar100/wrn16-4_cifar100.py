_base_ = './wrn28-4_cifar100.py'
model = dict(backbone=dict(depth=16))
