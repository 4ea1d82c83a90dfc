# ICKD (Liu et al., ICCV 2021): which channels are active together, at the ends of the stages. The loss is the authors'
# sum over an image's matrix, divided by its rows. The weight is not tuned.
method = dict(
    position=dict(type='ovkd_mm.EndOfGroup'),
    teacher_transform=dict(type='ovkd_mm.ChannelCorrelation'),
    student_transform=dict(type='ovkd_mm.ChannelCorrelation'),
    loss=dict(type='ovkd_mm.L2Loss', reduction='sum', loss_weight=1.0),
    weight=1.0)
