_base_ = ['./ssdlite192_lite0_voc-animals.py', '../_base_/methods/ofd_auto.py']

model = dict(
    _delete_=True,
    type='ovkd_mm.FeatureDistiller',
    student=_base_.model,
    teacher=dict(
        model='{{ fileDirname }}/ssdlite192_lite2_voc-animals.py',
        checkpoint='work_dirs/ssdlite192_lite2_voc-animals/iter_2000.pth'),
    method=_base_.method,
    pairs='auto',
    logits=[
        dict(teacher=f'bbox_head.cls_convs.{level}', student=f'bbox_head.cls_convs.{level}', classes=7, weight=1 / 6)
        for level in range(6)
    ],
    input_shape=(192, 192))
