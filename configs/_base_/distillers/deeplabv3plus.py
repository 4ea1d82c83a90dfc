# What the distillations of DeepLabV3+ share. Places are the ends of four groups of the backbone, at 129x129, 65x65, 33x33
# and 33x33; of the head the ASPP at 33x33 and the decoder at 129x129.
places = dict(
    resnet=[f'backbone.layer{group}' for group in (1, 2, 3, 4)],
    # MobileNetV2's stages end in a linear layer, so before its ReLU a feature is what the next stage expands it to. The
    # last stage is followed by the ASPP, not by an expansion, so its output is taken as it is.
    mobilenet_v2=[
        'backbone.layer2', 'backbone.layer3', 'backbone.layer5',
        dict(type='ovkd_mm.ModuleOutput', path='backbone.layer7')
    ])
head_pairs = {
    head: [
        dict(teacher='decode_head.bottleneck', student='decode_head.bottleneck', stage=3),
        dict(teacher=f'decode_head.{decoder}', student=f'decode_head.{decoder}', stage=-1)
    ]
    for head, decoder in dict(ours='decoder', mmseg='sep_bottleneck').items()
}
distiller = dict(
    type='ovkd_mm.FeatureDistiller',
    input_shape=(513, 513))
