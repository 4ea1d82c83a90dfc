_base_ = './wrn10-1_cifar10-folder-5e.py'
model = dict(backbone=dict(depth=16))
