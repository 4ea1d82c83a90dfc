# KD with Logit Standardization (Sun et al., CVPR 2024), on class scores. Temperature and weight are the authors' for KD on
# CIFAR-100.
method = dict(
    position=dict(type='ovkd_mm.Logits'),
    teacher_transform=dict(type='ovkd_mm.Identity'),
    student_transform=dict(type='ovkd_mm.Identity'),
    loss=dict(type='ovkd_mm.KDLoss', temperature=2.0, standardize=True, loss_weight=9.0),
    weight=1.0)
