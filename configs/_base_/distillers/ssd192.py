# What the distillations of the small SSDs share; the six levels score six classes and background.
distiller = dict(
    type='ovkd_mm.FeatureDistiller',
    pairs='auto',
    logits=[
        dict(teacher=f'bbox_head.cls_convs.{level}', student=f'bbox_head.cls_convs.{level}', classes=7, weight=1 / 6)
        for level in range(6)
    ],
    input_shape=(192, 192))
