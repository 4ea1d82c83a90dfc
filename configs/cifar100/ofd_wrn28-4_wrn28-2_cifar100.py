_base_ = ['./wrn28-2_cifar100.py', '../_base_/methods/ofd_cifar.py', '../_base_/distillers/cifar.py']

model = dict(
    _base_.distiller,
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        model='{{ fileDirname }}/wrn28-4_cifar100.py',
        checkpoint='work_dirs/wrn28-4_cifar100/epoch_200.pth'),
    method=_base_.method)
