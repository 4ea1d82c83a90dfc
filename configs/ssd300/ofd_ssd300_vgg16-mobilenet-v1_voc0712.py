_base_ = ['./ssdlite300_mobilenet-v1_voc0712.py', '../_base_/methods/ofd.py', '../_base_/distillers/ssd300.py']

model = dict(
    _base_.distiller,
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        model='{{ fileDirname }}/ssd300_vgg16_voc0712.py',
        checkpoint='work_dirs/ssd300_vgg16_voc0712/iter_120000.pth'),
    method=_base_.method,
    pairs=[dict(teacher=t, student=s) for t, s in zip(_base_.places.vgg16, _base_.places.mobilenet_v1)])
