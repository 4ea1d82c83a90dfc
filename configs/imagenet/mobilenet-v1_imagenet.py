_base_ = './resnet50_imagenet.py'
# Without an initialization of its own the backbone starts by torch's, as the authors' does.
model = dict(
    backbone=dict(_delete_=True, type='ovkd_mm.MobileNetV1', init_cfg=dict()),
    head=dict(in_channels=1024))
