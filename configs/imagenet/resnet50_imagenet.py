_base_ = 'mmpretrain::resnet/resnet50_8xb32_in1k.py'

loader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='default_collate'))
train_dataloader = loader
val_dataloader = loader
test_dataloader = loader

# 100 epochs with lr 0.1, divided by 10 at 30, 60 and 90, and weight decay 1e-4: mmpretrain's.
optim_wrapper = dict(optimizer=dict(nesterov=True))
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=3, save_best='accuracy/top1'))
