"""Labels beyond the classes, as the toolkits' own data sets let them pass."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData
from mmpretrain.models.heads import LinearClsHead, VisionTransformerClsHead
from mmpretrain.registry import DATASETS as CLASSIFICATION
from mmseg.datasets import BaseSegDataset
from mmseg.models.decode_heads import FCNHead
from mmseg.structures import SegDataSample
from torch import nn
from voc_folder import write_voc_masks

from ovkd_mm.hooks import LabelRangeHook

CLASSES = ['sky', 'road', 'tree']


def runner(dataset, **heads):
    model = nn.ModuleDict({'student': nn.ModuleDict(heads)})
    return SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=dataset))


def check(dataset, samples: list, **heads) -> None:
    one = runner(dataset, **heads)
    hook = LabelRangeHook()
    hook.before_train(one)
    hook.before_train_iter(one, 0, dict(inputs=[], data_samples=samples))


def segmenter(num_classes=3, **options):
    return FCNHead(in_channels=4, channels=4, num_classes=num_classes, **options)


@pytest.fixture
def masks(tmp_path):
    """Reads masks, each of given values, with mmseg's own data set."""

    def read(*values_of_each, **options):
        images = {f'{i}': np.resize(np.array(values, np.uint8), (8, 9)) for i, values in enumerate(values_of_each)}
        write_voc_masks(tmp_path, images)
        init_default_scope('mmseg')
        return BaseSegDataset(
            data_root=str(tmp_path),
            ann_file='ImageSets/Segmentation/train.txt',
            data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')],
            **{'metainfo': dict(classes=CLASSES), **options},
        )

    return read


def batch(dataset) -> list:
    return pseudo_collate([dataset[i] for i in range(len(dataset))])['data_samples']


def test_masks_of_the_classes_and_void_pass(masks):
    check(dataset := masks((0, 1, 2, 255), (2, 255)), batch(dataset), decode_head=segmenter())
    reduced = masks((0, 1, 2, 3, 255), reduce_zero_label=True)
    check(reduced, batch(reduced), decode_head=segmenter())
    void = masks((0, 1, 2, 11))
    check(void, batch(void), decode_head=segmenter(ignore_index=11))


def test_a_mask_with_a_label_that_is_no_class_is_named_with_value_classes_and_fixes(masks, tmp_path):
    dataset = masks((0, 1), (0, 1, 2, 11))
    with pytest.raises(ValueError, match=r'SegmentationClass/1\.png') as caught:
        check(dataset, batch(dataset), decode_head=segmenter(), auxiliary_head=nn.ModuleList([segmenter()]))
    for part in (
        f"the mask '{tmp_path}/SegmentationClass/1.png' has the label 11 (18 pixels)",
        'BaseSegDataset has the 3 classes 0 to 2; 255 is void',
        'model.student.decode_head.ignore_index=11',
        'model.student.auxiliary_head.0.ignore_index=11',
        'seg_pad_val=11 of its data_preprocessor',
        'val_evaluator.ignore_index=11',
        'metainfo.classes',
    ):
        assert part in str(caught.value)


def test_a_single_pixel_is_counted_as_one(masks):
    dataset = masks([0] * 71 + [11])
    with pytest.raises(ValueError, match=r'has the label 11 \(1 pixel\)'):
        check(dataset, batch(dataset), decode_head=segmenter())


def test_labels_are_named_as_they_stand_in_the_file(masks):
    dataset = masks((1, 4, 5), reduce_zero_label=True)
    with pytest.raises(
        ValueError, match=r'has the labels 4 \(24 pixels\), 5 \(24 pixels\).*3 classes 1 to 3'
    ) as caught:
        check(dataset, batch(dataset), decode_head=segmenter())
    assert 'reduce_zero_label=True' not in str(caught.value).partition('classes 1 to 3')[2]


def test_255_is_a_label_like_others_where_the_head_ignores_another(masks):
    dataset = masks((0, 11, 255))
    with pytest.raises(ValueError, match=r'has the label 255 \(24 pixels\).*; 11 is void\. Fix the mask, or'):
        check(dataset, batch(dataset), decode_head=segmenter(ignore_index=11))


def test_a_label_that_one_of_two_heads_ignores_is_none(masks):
    dataset = masks((0, 11))
    with pytest.raises(ValueError, match='has the label 11'):
        check(dataset, batch(dataset), decode_head=segmenter(ignore_index=11), auxiliary_head=segmenter())


def test_a_single_class_is_told_from_the_background(masks):
    dataset = masks((0, 1), metainfo=dict(classes=['road']))
    check(dataset, batch(dataset), decode_head=segmenter(1, threshold=0.3))


def test_without_names_of_classes_the_head_tells_how_many_there_are(masks):
    dataset = masks((0, 1, 2, 3), metainfo=None)
    check(dataset, batch(dataset), decode_head=segmenter(4))
    with pytest.raises(ValueError, match=r'has the label 3 .*model\.student\.decode_head has the 3 classes 0 to 2'):
        check(dataset, batch(dataset), decode_head=segmenter(), auxiliary_head=segmenter(4))
    check(dataset, batch(dataset))  # nobody knows


@pytest.fixture
def listed(tmp_path):
    """Reads images with the labels that a list names, with mmpretrain's own data set."""

    def read(*labels, **options):
        lines = [f'{i}.png {label}' for i, label in enumerate(labels)]
        (tmp_path / 'list.txt').write_text('\n'.join(lines))
        init_default_scope('mmpretrain')
        pack = [lambda info: info | dict(img=np.zeros((4, 4, 3), np.uint8)), dict(type='PackInputs')]
        return CLASSIFICATION.build(
            dict(type='CustomDataset', data_prefix=str(tmp_path), ann_file=str(tmp_path / 'list.txt'), pipeline=pack)
            | options
        )

    return read


@pytest.mark.parametrize('head', [LinearClsHead, VisionTransformerClsHead])
def test_an_image_with_a_label_that_is_no_class_is_named(listed, head, tmp_path):
    head = head(num_classes=3, in_channels=4)
    check(dataset := listed(0, 2), batch(dataset), head=head)
    for label in (3, -1):
        dataset = listed(0, label)
        with pytest.raises(
            ValueError, match=rf"'{tmp_path}/1\.png' has the label {label}, .*head has the 3 classes 0 to 2"
        ):
            check(dataset, batch(dataset), head=head)
    with pytest.raises(ValueError, match='CustomDataset has the 3 classes 0 to 2'):
        check(listed(3, classes=CLASSES), batch(dataset), head=head)


def boxes(*labels, sem_seg=None):
    sample = DetDataSample(metainfo=dict(img_path='a.jpg'))
    sample.gt_instances = InstanceData(labels=torch.tensor(labels, dtype=torch.long))
    if sem_seg is not None:
        sample.gt_sem_seg = PixelData(data=torch.full((1, 4, 4), sem_seg))
    return sample


def test_a_box_with_a_label_that_is_no_class_names_its_image():
    dataset = SimpleNamespace(metainfo=dict(classes=CLASSES))
    check(dataset, [boxes(0, 2), boxes()])
    with pytest.raises(ValueError, match=r"'a\.jpg' has the label 3, .*3 classes 0 to 2"):
        check(dataset, [boxes(0, 2), boxes(3, 0)])


def test_stuff_beside_boxes_has_classes_of_its_own():
    check(SimpleNamespace(metainfo=dict(classes=CLASSES)), [boxes(0, sem_seg=180)])


@pytest.mark.parametrize('samples', [torch.zeros(3), dict(sup=[boxes(7)]), [torch.tensor(7)], [SegDataSample()], None])
def test_samples_without_such_labels_pass(samples):
    dataset = SimpleNamespace(metainfo=dict(classes=CLASSES))
    check(dataset, samples)
    one = runner(dataset)
    hook = LabelRangeHook()
    hook.before_train(one)
    hook.before_train_iter(one, 0, torch.zeros(3))


def masked(*values):
    sample = SegDataSample()
    sample.gt_sem_seg = PixelData(data=torch.tensor(values).expand(1, 4, -1))
    return sample


def test_a_negative_label_of_a_mask_is_no_class():
    with pytest.raises(ValueError, match=r'has the label -1 \(4 pixels\)'):
        check(SimpleNamespace(metainfo=dict(classes=CLASSES)), [masked(0, -1)], decode_head=segmenter())


@pytest.mark.parametrize(('last', 'rest'), [(14, r', but'), (15, r', \.\.\., but')])
def test_of_many_labels_five_are_shown(last, rest):
    sample = masked(*range(10, last + 1))
    with pytest.raises(ValueError, match=rf'labels 10 \(4 pixels\), .*, 14 \(4 pixels\){rest}'):
        check(SimpleNamespace(metainfo=dict(classes=CLASSES)), [sample], decode_head=segmenter())
