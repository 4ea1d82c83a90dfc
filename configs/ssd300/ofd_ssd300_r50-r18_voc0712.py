_base_ = ['./ssd300_r18_voc0712.py', '../_base_/methods/ofd.py', '../_base_/distillers/ssd300.py']

model = dict(
    _base_.distiller,
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        model='{{ fileDirname }}/ssd300_r50_voc0712.py',
        checkpoint='work_dirs/ssd300_r50_voc0712/iter_120000.pth'),
    method=_base_.method,
    pairs=[dict(teacher=t, student=s) for t, s in zip(_base_.places.resnet, _base_.places.resnet)])
