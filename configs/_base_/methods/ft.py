# Paraphrasing Complex Network (Kim et al., NeurIPS 2018): factors of unit length, L1. The paraphrasers learn before the
# student's training begins, in the same run. The weight is that of the authors' code for CIFAR, also for a mean;
# theirs has one pair, at the end of the last group.
method = dict(
    position=dict(type='ovkd_mm.EndOfGroup'),
    teacher_transform=dict(type='ovkd_mm.Paraphraser', rate=0.5),
    student_transform=dict(type='ovkd_mm.Translator', rate=0.5),
    loss=dict(type='ovkd_mm.FactorLoss', loss_weight=500.0),
    weight=1.0,
    hooks=[dict(type='ovkd_mm.ParaphraserHook', epochs=5)])
