# From scratch, so at one learning rate throughout.
_base_ = './deeplabv3plus193_lite2_voc-animals.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        out_indices=(0, 3),
        norm_cfg=_base_.norm_cfg,
        norm_eval=False),
    decode_head=dict(in_channels=512, c1_in_channels=64))
optim_wrapper = dict(paramwise_cfg=None)
