import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope

from ovkd_mm.benchmark.batches import random_batch
from ovkd_mm.config_files import model_of, read_config_file
from ovkd_mm.registry import MODELS

ROWS = dict(
    mmdet=('retinanet/retinanet_r18_fpn_1x_coco.py', 80),
    mmseg=('fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py', 19),
    mmpretrain=('resnet/resnet18_8xb16_cifar10.py', 10),
)


@pytest.mark.parametrize('toolkit', ROWS)
def test_a_toolkits_model_trains_on_a_random_batch(toolkit):
    name, classes = ROWS[toolkit]
    config = read_config_file(f'{toolkit}::{name}', name)
    init_default_scope(toolkit)
    model = revert_sync_batchnorm(MODELS.build(model_of(config))).train()
    if toolkit == 'mmseg':
        model.data_preprocessor.size = (40, 72)
    data = model.data_preprocessor(random_batch(toolkit, 3, (40, 72), classes), True)
    count, channels, height, width = data['inputs'].shape
    assert (count, channels, len(data['data_samples'])) == (3, 3, 3)
    assert height >= 40 and width >= 72
    assert torch.isfinite(model.parse_losses(model(**data, mode='loss'))[0])


def test_masks_of_any_size_cover_the_image():
    batch = random_batch('mmseg', 2, (33, 50), 5)
    assert batch['data_samples'][0].gt_sem_seg.data.shape == (1, 33, 50)
    assert batch['data_samples'][0].gt_sem_seg.data.max() < 5


def test_another_toolkit_is_named():
    with pytest.raises(ValueError, match="default_scope='mmocr'"):
        random_batch('mmocr', 2, (32, 32), 2)
