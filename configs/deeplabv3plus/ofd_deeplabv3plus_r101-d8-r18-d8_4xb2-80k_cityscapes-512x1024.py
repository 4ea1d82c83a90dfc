_base_ = [
    'mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py', '../_base_/methods/ofd.py'
]

model = dict(
    _delete_=True,
    type='ovkd_mm.FeatureDistiller',
    student={{_base_.model}},
    teacher=dict(
        model='mmseg::deeplabv3plus/deeplabv3plus_r101-d8_4xb2-80k_cityscapes-512x1024.py',
        checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/deeplabv3plus/deeplabv3plus_r101-d8_512x1024_80k_'
        'cityscapes/deeplabv3plus_r101-d8_512x1024_80k_cityscapes_20200606_114143-068fcfe9.pth'),
    method={{_base_.method}},
    pairs=[
        dict(teacher='backbone.layer1', student='backbone.layer1'),  # 128x256
        dict(teacher='backbone.layer2', student='backbone.layer2'),  # 64x128, as the next three
        dict(teacher='backbone.layer3', student='backbone.layer3'),
        dict(teacher='backbone.layer4', student='backbone.layer4'),
        dict(teacher='decode_head.bottleneck', student='decode_head.bottleneck', stage=3),
        dict(teacher='decode_head.sep_bottleneck', student='decode_head.sep_bottleneck', stage=-1)  # 128x256
    ],
    logits=[dict(teacher='decode_head.conv_seg', student='decode_head.conv_seg')],
    input_shape=(512, 1024))
