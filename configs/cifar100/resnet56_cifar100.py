_base_ = './wrn28-4_cifar100.py'
model = dict(
    backbone=dict(_delete_=True, type='ovkd_mm.CifarResNet', depth=56),
    head=dict(in_channels=64))
