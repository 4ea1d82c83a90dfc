# A Gift from Knowledge Distillation (Yim et al., CVPR 2017): Gram matrices between the two ends of a group, L2. Ends
# with other channels than the teacher's get a connector, which is ours. It is learned beside the task, as the OFD paper
# has it, not in a stage before. The weight is that of RepDistiller (Tian et al. 2020).
method = dict(
    position=dict(type='ovkd_mm.GroupEnds'),
    teacher_transform=dict(type='ovkd_mm.GramMatrix'),
    student_transform=dict(type='ovkd_mm.GramMatrix'),
    loss=dict(type='ovkd_mm.L2Loss', loss_weight=50.0),
    weight=1.0)
