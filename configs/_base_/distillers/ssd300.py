# What the distillations of SSD300 share. Places are the ends of four groups, at 75x75, 38x38, 19x19 and 10x10.
places = dict(
    # conv3_3, conv4_3, fc7, conv8_2
    vgg16=['backbone.features.15', 'backbone.features.22', 'backbone.features.34', 'neck.extra_layers.0'],
    resnet=[f'backbone.layer{group}' for group in (1, 2, 3, 4)],
    mobilenet_v1=[f'backbone.layer{group}' for group in (2, 3, 4, 5)])
distiller = dict(
    type='ovkd_mm.FeatureDistiller',
    logits=[
        dict(teacher=f'bbox_head.cls_convs.{level}', student=f'bbox_head.cls_convs.{level}', classes=21, weight=1 / 6)
        for level in range(6)
    ],
    input_shape=(300, 300))
