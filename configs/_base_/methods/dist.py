# DIST (Huang et al., NeurIPS 2022), on class scores. Weights and temperature are the defaults of the authors' code.
method = dict(
    position=dict(type='ovkd_mm.Logits'),
    teacher_transform=dict(type='ovkd_mm.Identity'),
    student_transform=dict(type='ovkd_mm.Identity'),
    loss=dict(type='ovkd_mm.DISTLoss', temperature=1.0, inter_weight=1.0, intra_weight=1.0),
    weight=1.0)
