# The teacher of Lite0: with the head of SSDLite, and trained for longer than its student.
_base_ = './ssdlite192_lite0_voc-animals.py'

channels = (48, 120, 352, 256, 256, 256)
model = dict(
    backbone=dict(model_name='tf_efficientnet_lite2'),
    neck=dict(in_channels=channels[:3], out_channels=channels),
    bbox_head=dict(in_channels=channels))
optim_wrapper = dict(optimizer=dict(lr=1e-3))

iters = 2000
train_cfg = dict(max_iters=iters)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=iters)]
