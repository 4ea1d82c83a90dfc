_base_ = ['./wrn16-1_cifar10-folder-5e.py', '../_base_/methods/ofd_cifar.py', '../_base_/distillers/cifar.py']

model = dict(
    _base_.distiller,
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        model='{{ fileDirname }}/wrn16-2_cifar10-folder-12e.py',
        checkpoint='work_dirs/wrn16-2_cifar10-folder-12e/epoch_12.pth'),
    method=_base_.method,
    channel_order=None)  # of files, which the preprocessor turns
