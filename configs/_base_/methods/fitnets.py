# FitNets (Romero et al., ICLR 2015): the middle layer through a 1x1 convolution, L2. It is learned beside the task, as
# the OFD paper has it, not in a stage before. The paper, older than batch norms, has none after the convolution; at
# today's learning rates it diverges without. The weight is that of RepDistiller (Tian et al. 2020), also for a mean.
method = dict(
    position=dict(type='ovkd_mm.MidLayer'),
    teacher_transform=dict(type='ovkd_mm.Identity'),
    student_transform=dict(type='ovkd_mm.Conv1x1'),
    loss=dict(type='ovkd_mm.L2Loss', loss_weight=100.0),
    weight=1.0)
