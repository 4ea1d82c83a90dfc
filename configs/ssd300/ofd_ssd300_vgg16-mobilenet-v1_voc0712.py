_base_ = ['./ssdlite300_mobilenet-v1_voc0712.py', '../_base_/methods/ofd.py']

model = dict(
    _delete_=True,
    type='ovkd_mm.FeatureDistiller',
    student={{_base_.model}},
    teacher=dict(
        model='{{ fileDirname }}/ssd300_vgg16_voc0712.py',
        checkpoint='work_dirs/ssd300_vgg16_voc0712/iter_120000.pth'),
    method={{_base_.method}},
    pairs=[
        dict(teacher='backbone.features.15', student='backbone.layer2'),  # conv3_3, 75x75
        dict(teacher='backbone.features.22', student='backbone.layer3'),  # conv4_3, 38x38
        dict(teacher='backbone.features.34', student='backbone.layer4'),  # fc7, 19x19
        dict(teacher='neck.extra_layers.0', student='backbone.layer5')  # conv8_2, 10x10
    ],
    logits=[
        dict(teacher=f'bbox_head.cls_convs.{level}', student=f'bbox_head.cls_convs.{level}', classes=21, weight=1 / 6)
        for level in range(6)
    ],
    input_shape=(300, 300))
