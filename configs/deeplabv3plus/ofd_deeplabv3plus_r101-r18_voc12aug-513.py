_base_ = [
    './deeplabv3plus_r18_voc12aug-513.py', '../_base_/methods/ofd.py', '../_base_/distillers/deeplabv3plus.py'
]

model = dict(
    _base_.distiller,
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        model='{{ fileDirname }}/deeplabv3plus_r101_voc12aug-513.py',
        checkpoint='work_dirs/deeplabv3plus_r101_voc12aug-513/epoch_50.pth'),
    method=_base_.method,
    pairs=[dict(teacher=t, student=s) for t, s in zip(_base_.places.resnet, _base_.places.resnet)] + _base_.head_pairs.ours)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(pairs=dict(lr_mult=10.0))))
custom_hooks = [dict(type='ovkd_mm.ConnectorWarmupHook', epochs=1)]
