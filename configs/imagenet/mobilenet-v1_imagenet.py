_base_ = './resnet50_imagenet.py'
model = dict(
    backbone=dict(_delete_=True, type='ovkd_mm.MobileNetV1'),
    head=dict(in_channels=1024))
