_base_ = ['./ssdlite300_mobilenet-v1_voc0712.py', '../_base_/methods/ofd.py']

model = dict(
    _delete_=True,
    type='ovkd_mm.FeatureDistiller',
    student={{_base_.model}},
    teacher=dict(
        model='{{ fileDirname }}/ssd300_r50_voc0712.py',
        checkpoint='work_dirs/ssd300_r50_voc0712/iter_120000.pth'),
    method={{_base_.method}},
    pairs=[
        dict(teacher='backbone.layer1', student='backbone.layer2'),  # 75x75
        dict(teacher='backbone.layer2', student='backbone.layer3'),  # 38x38
        dict(teacher='backbone.layer3', student='backbone.layer4'),  # 19x19
        dict(teacher='backbone.layer4', student='backbone.layer5')  # 10x10
    ],
    logits=[
        dict(teacher=f'bbox_head.cls_convs.{level}', student=f'bbox_head.cls_convs.{level}', classes=21, weight=1 / 6)
        for level in range(6)
    ],
    input_shape=(300, 300))
