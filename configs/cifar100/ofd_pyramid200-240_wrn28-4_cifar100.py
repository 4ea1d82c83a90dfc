_base_ = ['./wrn28-4_cifar100.py', '../_base_/methods/ofd_cifar.py', '../_base_/distillers/cifar.py']

model = dict(
    _base_.distiller,
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        model='{{ fileDirname }}/pyramid200-240_cifar100.py',
        checkpoint='work_dirs/pyramid200-240_cifar100/epoch_200.pth'),
    method=_base_.method)

train_dataloader = dict(batch_size=64)
auto_scale_lr = dict(base_batch_size=64)
