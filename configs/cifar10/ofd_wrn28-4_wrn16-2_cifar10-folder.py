_base_ = ['./wrn16-2_cifar10-folder.py', '../_base_/methods/ofd_cifar.py', '../_base_/distillers/cifar.py']

model = dict(
    _base_.distiller,
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        model='{{ fileDirname }}/wrn28-4_cifar10-folder.py',
        checkpoint='work_dirs/wrn28-4_cifar10-folder/epoch_200.pth'),
    method=_base_.method,
    channel_order=None)  # of files, which the preprocessor turns
