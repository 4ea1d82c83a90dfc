# Channel-Wise Knowledge Distillation for Dense Prediction (Shu et al., ICCV 2021) on the scores of a segmentor, where a
# channel is a class. Weight and temperature are mmrazor's for Cityscapes. Scores of whole images have no positions to
# compare.
method = dict(
    position=dict(type='ovkd_mm.Logits'),
    teacher_transform=dict(type='ovkd_mm.Identity'),
    student_transform=dict(type='ovkd_mm.Identity'),
    loss=dict(type='ovkd_mm.CWDLoss', temperature=1.0, loss_weight=5.0),
    weight=1.0)
