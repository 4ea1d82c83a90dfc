# Knowledge Transfer via Distillation of Activation Boundaries (Heo et al., AAAI 2019): which neurons are active,
# marginal L2, in a stage before the task is learned. The authors' code takes 0.003 times the sum over C, H and W, and half
# of that for each earlier group of twice as many entries: of the WRN28-4 that is 0.003 * 256 * 8 * 8 times the mean in
# each group. Their code then learns the task by KD, ours from the labels.
method = dict(
    position=dict(type='ovkd_mm.PreReLU'),
    teacher_transform=dict(type='ovkd_mm.Binarize'),
    student_transform=dict(type='ovkd_mm.Conv1x1'),
    loss=dict(type='ovkd_mm.MarginalL2Loss', margin=1.0, loss_weight=49.152),
    weight=1.0,
    hooks=[dict(type='ovkd_mm.InitializationHook', epochs=10)])
