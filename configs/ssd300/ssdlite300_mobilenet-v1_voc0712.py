_base_ = './ssd300_r50_voc0712.py'

channels = (256, 512, 1024, 1024, 1024, 512)
model = dict(
    # No toolkit hosts ImageNet weights of MobileNetV1; the README says how to name your own.
    backbone=dict(_delete_=True, type='ovkd_mm.MobileNetV1', out_indices=(2, 3, 4)),
    neck=dict(in_channels=channels[:3], out_channels=channels, use_depthwise=True),
    bbox_head=dict(
        in_channels=channels, use_depthwise=True, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU')))
