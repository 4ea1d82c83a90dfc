# PKD (Cao et al., NeurIPS 2022): Pearson correlation of features, made for the levels of a detector's neck (pairs of
# neck.fpn_convs.*) and of use at the ends of stages. The weight is the authors' 6, halved since theirs halves the mean square.
method = dict(
    position=dict(type='ovkd_mm.EndOfGroup'),
    teacher_transform=dict(type='ovkd_mm.Standardize'),
    student_transform=dict(type='ovkd_mm.Standardize'),
    loss=dict(type='ovkd_mm.L2Loss', loss_weight=3.0),
    weight=1.0)
