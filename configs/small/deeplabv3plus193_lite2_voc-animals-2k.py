# The teacher of Lite0, trained for longer than its student.
_base_ = './deeplabv3plus193_lite2_voc-animals.py'

iters = 2000
train_cfg = dict(max_iters=iters)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=iters)]
