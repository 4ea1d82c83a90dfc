# Five epochs.
_base_ = './wrn16-2_cifar10-folder-12e.py'
epochs = 5
model = dict(backbone=dict(depth=10, width=1), head=dict(in_channels=64))
train_cfg = dict(max_epochs=epochs, val_interval=epochs)
param_scheduler = dict(total_steps=epochs * 782)
