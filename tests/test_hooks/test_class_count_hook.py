from types import SimpleNamespace

import pytest
from torch import nn

from ovkd_mm.hooks import ClassCountHook


def runner(num_classes: int, classes: list | None, classifier: str = 'conv_seg', name: str = 'decode_head'):
    head = nn.Module()
    head.num_classes = num_classes
    head.add_module(classifier, nn.Linear(1, 1))
    model = nn.ModuleDict({'student': nn.ModuleDict({name: head})})
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=classes)))
    return SimpleNamespace(model=model, train_dataloader=loader, val_dataloader=loader, test_dataloader=loader)


@pytest.mark.parametrize('stage', ['before_train', 'before_val', 'before_test'])
@pytest.mark.parametrize('num_classes', [20, 22])
@pytest.mark.parametrize('classifier', ['conv_seg', 'fc'])
def test_another_number_of_classes_is_an_error_that_names_the_key(stage, num_classes, classifier):
    message = r'set model\.student\.decode_head\.num_classes=21.*'
    with pytest.raises(ValueError, match=message):
        getattr(ClassCountHook(), stage)(runner(num_classes, ['a'] * 21, classifier))


def test_equal_numbers_unknown_classes_and_other_toolkits_heads_pass():
    ClassCountHook().before_train(runner(21, ['a'] * 21))
    ClassCountHook().before_train(runner(20, None))
    ClassCountHook().before_train(runner(20, ['a'] * 21, classifier='fc_cls', name='bbox_head'))


def test_mmsegs_and_mmpretrains_heads_are_recognized():
    from mmpretrain.models.heads import LinearClsHead
    from mmseg.models.decode_heads import FCNHead

    for head in (LinearClsHead(num_classes=3, in_channels=4), FCNHead(in_channels=4, channels=4, num_classes=3)):
        one = runner(3, ['a', 'b'])
        one.model['student']['decode_head'] = head
        with pytest.raises(ValueError, match='num_classes=3'):
            ClassCountHook().before_train(one)


def test_a_classifiers_head_is_recognized_by_its_place_whatever_its_layers_are_called():
    from mmpretrain.models.heads import ArcFaceClsHead, VisionTransformerClsHead

    for head in (VisionTransformerClsHead(num_classes=3, in_channels=4), ArcFaceClsHead(num_classes=3, in_channels=4)):
        one = runner(2, ['a', 'b'])
        one.model['student'] = nn.ModuleDict({'head': head})
        with pytest.raises(ValueError, match=r'set model\.student\.head\.num_classes=2'):
            ClassCountHook().before_train(one)
