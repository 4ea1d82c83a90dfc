# Paying More Attention to Attention (Zagoruyko & Komodakis, ICLR 2017): normalized sums of squares over channels, L2.
# The weight is beta of the authors' code, the same in every group.
method = dict(
    position=dict(type='ovkd_mm.EndOfGroup'),
    teacher_transform=dict(type='ovkd_mm.AttentionMap'),
    student_transform=dict(type='ovkd_mm.AttentionMap'),
    loss=dict(type='ovkd_mm.L2Loss', loss_weight=1000.0),
    weight=1.0)
