# Twelve epochs; an hour and a half of a CPU core shared with other work.
_base_ = '../cifar10/wrn16-2_cifar10-folder.py'
epochs = 12
train_dataloader = dict(batch_size=64, num_workers=0, persistent_workers=False)
auto_scale_lr = dict(base_batch_size=64)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=epochs, val_interval=epochs)
param_scheduler = dict(
    _delete_=True, type='OneCycleLR', eta_max=0.1, total_steps=epochs * 782, by_epoch=False)  # of 50,000 images
default_hooks = dict(logger=dict(interval=100))
custom_hooks = [dict(type='ovkd_mm.ChannelsLastHook')]
