# Distilling the Knowledge in a Neural Network (Hinton et al. 2015), on class scores. The temperature is that of many
# comparisons, 4.
method = dict(
    position=dict(type='ovkd_mm.Logits'),
    teacher_transform=dict(type='ovkd_mm.Identity'),
    student_transform=dict(type='ovkd_mm.Identity'),
    loss=dict(type='ovkd_mm.KDLoss', temperature=4.0, loss_weight=1.0),
    weight=1.0)
