# What the distillations on CIFAR share: the three groups of both networks, at 32x32, 16x16 and 8x8.
distiller = dict(
    type='ovkd_mm.FeatureDistiller',
    pairs=[dict(teacher=f'backbone.layer{group}', student=f'backbone.layer{group}') for group in (1, 2, 3)],
    channel_order='rgb',  # of CIFAR's archive
    input_shape=(32, 32))
