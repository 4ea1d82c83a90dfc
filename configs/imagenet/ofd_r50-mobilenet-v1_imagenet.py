_base_ = ['./mobilenet-v1_imagenet.py', '../_base_/methods/ofd_imagenet.py', '../_base_/distillers/imagenet.py']

model = dict(
    _base_.distiller,
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        model='mmpretrain::resnet/resnet50_8xb32_in1k.py',
        checkpoint='https://download.openmmlab.com/mmclassification/v0/resnet/'
        'resnet50_8xb32_in1k_20210831-ea4938fc.pth'),
    method=_base_.method,
    pairs=[dict(teacher=t, student=s) for t, s in zip(_base_.places.resnet, _base_.places.mobilenet_v1)])
