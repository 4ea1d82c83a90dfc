# Knowledge Transfer with Jacobian Matching (Srinivas & Fleuret, ICML 2018): gradients of the most attended position with
# respect to the image, L2 of unit vectors, from 0 to 4. Each pair costs a backward pass through teacher and student more.
method = dict(
    position=dict(type='ovkd_mm.EndOfGroup'),
    teacher_transform=dict(type='ovkd_mm.InputGradient'),
    student_transform=dict(type='ovkd_mm.InputGradient', differentiable=True),
    loss=dict(type='ovkd_mm.L2Loss', reduction='sum', loss_weight=1.0),
    weight=1.0)
