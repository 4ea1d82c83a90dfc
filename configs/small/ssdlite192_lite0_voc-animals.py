_base_ = './ssd192_lite2_voc-animals.py'

channels = (40, 112, 320, 256, 256, 256)
model = dict(
    backbone=dict(model_name='tf_efficientnet_lite0'),
    neck=dict(in_channels=channels[:3], out_channels=channels, use_depthwise=True),
    bbox_head=dict(
        in_channels=channels, use_depthwise=True, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU')))
optim_wrapper = dict(optimizer=dict(lr=4e-3))  # the best of those tried, alone and distilled
