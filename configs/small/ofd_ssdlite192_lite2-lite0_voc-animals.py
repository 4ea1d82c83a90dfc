_base_ = ['./ssdlite192_lite0_voc-animals.py', '../_base_/methods/ofd_auto.py', '../_base_/distillers/ssd192.py']

model = dict(
    _base_.distiller,
    _delete_=True,
    student=_base_.model,
    teacher=dict(
        model='{{ fileDirname }}/ssdlite192_lite2_voc-animals.py',
        checkpoint='work_dirs/ssdlite192_lite2_voc-animals/iter_2000.pth'),
    method=_base_.method)
