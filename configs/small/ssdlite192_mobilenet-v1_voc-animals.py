# From scratch, so at one learning rate throughout.
_base_ = './ssd192_lite2_voc-animals.py'

channels = (256, 512, 1024, 256, 256, 256)
model = dict(
    backbone=dict(_delete_=True, type='ovkd_mm.MobileNetV1', out_indices=(2, 3, 4)),
    neck=dict(in_channels=channels[:3], out_channels=channels, use_depthwise=True),
    bbox_head=dict(
        in_channels=channels, use_depthwise=True, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU')))
optim_wrapper = dict(paramwise_cfg=None)
