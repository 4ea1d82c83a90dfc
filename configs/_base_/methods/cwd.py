# Channel-Wise Knowledge Distillation for Dense Prediction (Shu et al., ICCV 2021): where each channel of the features at the
# ends of the stages is active. The weight and the temperature are those of mmrazor for the levels of a detector's neck
# (pairs of neck.fpn_convs.*); for the scores of a segmentor see cwd_logits.py.
method = dict(
    position=dict(type='ovkd_mm.EndOfGroup'),
    teacher_transform=dict(type='ovkd_mm.Identity'),
    student_transform=dict(type='ovkd_mm.Conv1x1', norm=False),
    loss=dict(type='ovkd_mm.CWDLoss', temperature=1.0, loss_weight=10.0),
    weight=1.0)
