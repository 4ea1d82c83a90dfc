# A Comprehensive Overhaul of Feature Distillation (Heo et al., ICCV 2019): the four parts.
# The loss is a sum over C, H and W, so its weight belongs to an input size; the paper's weights are
# 1e-3 (32x32; ofd_cifar.py), 1e-4 (224x224; ofd_imagenet.py) and 1e-5 (detection, segmentation). Each earlier stage, whose
# sum runs over twice as many entries, weighs half.
method = dict(
    position=dict(type='ovkd_mm.PreReLU'),
    teacher_transform=dict(type='ovkd_mm.MarginReLU'),
    student_transform=dict(type='ovkd_mm.Conv1x1'),
    loss=dict(type='ovkd_mm.PartialL2Loss', loss_weight=1e-5),
    # Where no activation follows (transformers, ConvNeXt) none blocks anything: all of the whitened feature is learned.
    without_activation=dict(
        teacher_transform=dict(type='ovkd_mm.Whitening'), loss=dict(type='ovkd_mm.L2Loss', reduction='sum')),
    norm_mode='batch',
    weight='halved')
