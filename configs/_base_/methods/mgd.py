# Masked Generative Distillation (Yang et al., ECCV 2022): a masked feature of the student generates the teacher's. Weight
# and mask are the authors' for the levels of a detector's neck (pairs of neck.fpn_convs.*), 2e-5 and 0.65. For the last
# stage of a segmentor they take 2e-5 and 0.75, of a classifier 7e-5 and 0.15. The loss is a sum over C, H and W.
method = dict(
    position=dict(type='ovkd_mm.EndOfGroup'),
    teacher_transform=dict(type='ovkd_mm.Identity'),
    student_transform=dict(type='ovkd_mm.MaskedGeneration', masked=0.65),
    loss=dict(type='ovkd_mm.L2Loss', reduction='sum', loss_weight=2e-5),
    weight=1.0)
