_base_ = './deeplabv3plus_r101_voc12aug-513.py'

model = dict(
    backbone=dict(depth=18, multi_grid=None, init_cfg=dict(checkpoint='torchvision://resnet18')),
    decode_head=dict(in_channels=512, c1_in_channels=64))
