import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample

from ovkd_mm.distillers.labels import labels_of


def masked(mask):
    sample = SegDataSample()
    sample.gt_sem_seg = PixelData(data=mask)
    return sample


def test_images_have_a_class_each():
    assert labels_of([DataSample().set_gt_label(label) for label in (2, 0, 1)]).tolist() == [2, 0, 1]
    labels = torch.tensor([1, 2])
    assert labels_of(labels) is labels


def test_scores_of_one_class_alone_say_what_the_label_says():
    sample = DataSample().set_gt_label(1).set_gt_score(torch.tensor([0.0, 1.0]))
    assert labels_of([sample]).tolist() == [1]


@pytest.mark.parametrize('augment', ['Mixup', 'CutMix'])
def test_images_that_a_toolkit_mixed_are_refused_though_their_labels_are_still_there(augment):
    torch.manual_seed(0)
    preprocessor = ClsDataPreprocessor(batch_augments=dict(augments=dict(type=augment, alpha=1.0)), num_classes=4)
    samples = [DataSample().set_gt_label(label) for label in range(4)]
    mixed = preprocessor(dict(inputs=torch.rand(4, 3, 8, 8), data_samples=samples), training=True)['data_samples']
    assert all('gt_label' in sample for sample in mixed)
    with pytest.raises(ValueError, match='of images that were mixed'):
        labels_of(mixed)


def test_masks_have_one_a_pixel():
    masks = torch.randint(5, (3, 1, 4, 6))
    assert torch.equal(labels_of([masked(mask) for mask in masks]), masks[:, 0])


@pytest.mark.parametrize(
    'samples',
    [
        [DetDataSample(gt_instances=InstanceData(labels=torch.tensor([1])))],
        [DataSample().set_gt_label([0, 3])],
        [DataSample().set_gt_score(torch.tensor([0.3, 0.7]))],
        None,
        [],
    ],
    ids=['boxes', 'several labels', 'mixed', 'none', 'empty'],
)
def test_what_has_no_one_class_is_refused(samples):
    with pytest.raises(ValueError, match='takes the true class of each prediction, and the data samples have none'):
        labels_of(samples)
