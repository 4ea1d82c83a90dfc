_base_ = ['./mobilenet-v1_imagenet.py', '../_base_/methods/ofd_imagenet.py']

model = dict(
    _delete_=True,
    type='ovkd_mm.FeatureDistiller',
    student={{_base_.model}},
    teacher=dict(
        model='mmpretrain::resnet/resnet50_8xb32_in1k.py',
        checkpoint='https://download.openmmlab.com/mmclassification/v0/resnet/'
        'resnet50_8xb32_in1k_20210831-ea4938fc.pth'),
    method={{_base_.method}},
    pairs=[
        dict(teacher='backbone.layer1', student='backbone.layer2'),  # 56x56
        dict(teacher='backbone.layer2', student='backbone.layer3'),  # 28x28
        dict(teacher='backbone.layer3', student='backbone.layer4'),  # 14x14
        dict(teacher='backbone.layer4', student='backbone.layer5')  # 7x7
    ],
    logits=[dict(teacher='head.fc', student='head.fc')],
    input_shape=(224, 224))
