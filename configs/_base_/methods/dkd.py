# Decoupled Knowledge Distillation (Zhao et al., CVPR 2022), on class scores of images or of a segmentor's positions. A
# detector's anchors have no true class before they are assigned. Temperature and weights are the authors' for CIFAR-100;
# for ImageNet they take 1, 1 and 0.5.
method = dict(
    position=dict(type='ovkd_mm.Logits'),
    teacher_transform=dict(type='ovkd_mm.Identity'),
    student_transform=dict(type='ovkd_mm.Identity'),
    loss=dict(type='ovkd_mm.DKDLoss', temperature=4.0, target_weight=1.0, other_weight=8.0),
    weight=1.0)
