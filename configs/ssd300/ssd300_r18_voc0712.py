_base_ = './ssd300_r50_voc0712.py'

channels = (128, 256, 512, 1024, 256, 256)
model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=channels[:3], out_channels=channels),
    bbox_head=dict(in_channels=channels))
