# CIFAR-10 as folders of images: train/<class>/*.jpg and test/<class>/*.jpg.
_base_ = './wrn28-4_cifar10.py'

# Files are read as BGR; CIFAR's own archive holds RGB.
data_preprocessor = dict(to_rgb=True)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='CustomDataset',
        data_root='data/cifar10_folder',
        data_prefix='train',
        pipeline=[dict(type='LoadImageFromFile'), *_base_.train_pipeline]))
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='CustomDataset',
        data_root='data/cifar10_folder',
        data_prefix='test',
        pipeline=[dict(type='LoadImageFromFile'), *_base_.test_pipeline]))
test_dataloader = val_dataloader
