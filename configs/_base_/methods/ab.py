# Knowledge Transfer via Distillation of Activation Boundaries (Heo et al., AAAI 2019): which neurons are active,
# marginal L2, in a stage before the task is learned. On CIFAR's maps the weight of the mean is about that of the authors'
# code, a sum over C, H and W times 0.003. Their code then learns the task by KD, ours from the labels.
method = dict(
    position=dict(type='ovkd_mm.PreReLU'),
    teacher_transform=dict(type='ovkd_mm.Binarize'),
    student_transform=dict(type='ovkd_mm.Conv1x1'),
    loss=dict(type='ovkd_mm.MarginalL2Loss', margin=1.0, loss_weight=50.0))
method_hooks = [dict(type='ovkd_mm.InitialisationHook', epochs=10)]
