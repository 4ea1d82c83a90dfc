_base_ = ['./deeplabv3plus_mobilenet-v2_voc12aug-513.py', '../_base_/methods/ofd.py']

# MobileNetV2's stages end in a linear layer, so before its ReLU a feature is what the next stage expands it to. The last
# stage is followed by the ASPP, not by an expansion, so its output is taken as it is.
model = dict(
    _delete_=True,
    type='ovkd_mm.FeatureDistiller',
    student={{_base_.model}},
    teacher=dict(
        model='{{ fileDirname }}/deeplabv3plus_r101_voc12aug-513.py',
        checkpoint='work_dirs/deeplabv3plus_r101_voc12aug-513/epoch_50.pth'),
    method={{_base_.method}},
    pairs=[
        dict(teacher='backbone.layer1', student='backbone.layer2'),  # 129x129
        dict(teacher='backbone.layer2', student='backbone.layer3'),  # 65x65
        dict(teacher='backbone.layer3', student='backbone.layer5'),  # 33x33
        dict(
            teacher='backbone.layer4',
            student=dict(type='ovkd_mm.ModuleOutput', path='backbone.layer7')),  # 33x33
        dict(teacher='decode_head.bottleneck', student='decode_head.bottleneck', stage=3),  # ASPP, 33x33
        dict(teacher='decode_head.decoder', student='decode_head.decoder', stage=-1)  # 129x129
    ],
    logits=[dict(teacher='decode_head.conv_seg', student='decode_head.conv_seg')],
    input_shape=(513, 513))

optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(pairs=dict(lr_mult=10.0))))
# In the first epoch only the connectors learn.
custom_hooks = [
    *_base_.get('custom_hooks', []),
    dict(type='ovkd_mm.ConnectorWarmupHook', epochs=1)
]
