# What the distillations on ImageNet share. Places are the ends of four groups, at 56x56, 28x28, 14x14 and 7x7.
places = dict(
    resnet=[f'backbone.layer{group}' for group in (1, 2, 3, 4)],
    mobilenet_v1=[f'backbone.layer{group}' for group in (2, 3, 4, 5)])
distiller = dict(
    type='ovkd_mm.FeatureDistiller',
    input_shape=(224, 224))
