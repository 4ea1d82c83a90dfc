_base_ = './ssd300_r50_voc0712.py'

channels = (256, 512, 1024, 1024, 1024, 512)
model = dict(
    backbone=dict(
        _delete_=True,
        type='ovkd_mm.MobileNetV1',
        out_indices=(2, 3, 4),
        init_cfg=dict(type='Pretrained', checkpoint='timm://mobilenetv1_100.ra4_e3600_r224_in1k')),
    neck=dict(in_channels=channels[:3], out_channels=channels, use_depthwise=True),
    bbox_head=dict(
        in_channels=channels, use_depthwise=True, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU')))
