_base_ = './deeplabv3plus193_lite2_voc-animals.py'
model = dict(backbone=dict(model_name='tf_efficientnet_lite0'), decode_head=dict(in_channels=320))
