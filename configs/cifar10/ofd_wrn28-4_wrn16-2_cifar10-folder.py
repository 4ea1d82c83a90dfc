_base_ = ['./wrn16-2_cifar10-folder.py', '../_base_/methods/ofd_cifar.py']

model = dict(
    _delete_=True,
    type='ovkd_mm.FeatureDistiller',
    student={{_base_.model}},
    teacher=dict(
        model='{{ fileDirname }}/wrn28-4_cifar10-folder.py',
        checkpoint='work_dirs/wrn28-4_cifar10-folder/epoch_200.pth'),
    method={{_base_.method}},
    pairs=[
        dict(teacher='backbone.layer1', student='backbone.layer1'),  # 32x32
        dict(teacher='backbone.layer2', student='backbone.layer2'),  # 16x16
        dict(teacher='backbone.layer3', student='backbone.layer3')  # 8x8
    ],
    logits=[dict(teacher='head.fc', student='head.fc')],
    input_shape=(32, 32))
