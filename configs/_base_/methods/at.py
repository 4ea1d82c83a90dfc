# Paying More Attention to Attention (Zagoruyko & Komodakis, ICLR 2017): normalised sums of squares over channels, L2.
# The weight is beta / 2 with the paper's beta, 1e3 over the number of entries.
method = dict(
    position=dict(type='ovkd_mm.EndOfGroup'),
    teacher_transform=dict(type='ovkd_mm.AttentionMap'),
    student_transform=dict(type='ovkd_mm.AttentionMap'),
    loss=dict(type='ovkd_mm.L2Loss', loss_weight=500.0))
method_hooks = []
