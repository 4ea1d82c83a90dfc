_base_ = './ofd_ssd300_vgg16-mobilenet-v1_voc0712.py'

model = dict(
    teacher=dict(
        model='{{ fileDirname }}/ssd300_r50_voc0712.py',
        checkpoint='work_dirs/ssd300_r50_voc0712/iter_120000.pth'),
    pairs=[
        dict(teacher='backbone.layer1', student='backbone.layer2', weight=0.125),  # 75x75
        dict(teacher='backbone.layer2', student='backbone.layer3', weight=0.25),  # 38x38
        dict(teacher='backbone.layer3', student='backbone.layer4', weight=0.5),  # 19x19
        dict(teacher='backbone.layer4', student='backbone.layer5', weight=1.0)  # 10x10
    ])
