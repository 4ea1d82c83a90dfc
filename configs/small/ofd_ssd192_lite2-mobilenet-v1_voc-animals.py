_base_ = ['./ssdlite192_mobilenet-v1_voc-animals.py', '../_base_/methods/ofd_auto.py', '../_base_/distillers/ssd192.py']

model = dict(
    _base_.distiller,
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        model='{{ fileDirname }}/ssd192_lite2_voc-animals.py',
        checkpoint='work_dirs/ssd192_lite2_voc-animals/iter_1000.pth'),
    method=_base_.method)
