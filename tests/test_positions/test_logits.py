import pytest
from mmengine.registry import MODELS
from torch import nn
from toy import ToyClassifier

from ovkd_mm.positions import Logits, auto_logits, trace


def test_logits_are_read_as_the_classifier_puts_them_out():
    found = Logits('fc').resolve(trace(ToyClassifier(), (16, 16)))
    assert (found.path, found.side, found.shape, found.size) == ('fc', 'output', (3,), ())


def test_scores_are_the_outputs_that_both_models_return_whatever_their_layers_are_called():
    timm = trace(
        MODELS.build(dict(type='mmpretrain.TimmClassifier', model_name='mobilenetv3_small_050', num_classes=3)),
        (32, 32),
    )
    assert auto_logits(trace(ToyClassifier(), (16, 16)), timm) == [dict(student='fc', teacher='model.classifier')]


def segmentor(**decoder) -> nn.Module:
    head = dict(type='mmseg.FCNHead', in_channels=64, channels=4, num_classes=5, norm_cfg=dict(type='BN')) | decoder
    backbone = dict(type='mmseg.ResNet', depth=18, out_indices=(0,), num_stages=1, strides=(1,), dilations=(1,))
    return MODELS.build(dict(type='mmseg.EncoderDecoder', backbone=backbone, decode_head=head | dict(in_index=0)))


def test_a_segmentors_scores_are_a_map_and_its_auxiliary_heads_have_no_part_in_it():
    one = trace(segmentor(), (32, 32))
    assert auto_logits(one, one) == [dict(student='decode_head.conv_seg', teacher='decode_head.conv_seg')]
    (resized,) = auto_logits(one, trace(segmentor(), (48, 48)))
    assert resized == dict(student='decode_head.conv_seg', teacher='decode_head.conv_seg', resize=True)
    with pytest.raises(
        ValueError,
        match=r'5 class scores of the student \(decode_head.conv_seg\) and 4 of the teacher .*; name a teacher of',
    ):
        auto_logits(one, trace(segmentor(num_classes=4), (32, 32)))


def test_scores_may_be_handed_on_by_modules_that_change_nothing():
    class HandedOn(ToyClassifier):
        def __init__(self):
            super().__init__()
            self.flatten = nn.Identity()

        def forward(self, x, data_samples=None, mode='tensor'):
            return self.flatten(super().forward(x))

    one = trace(HandedOn(), (16, 16))
    assert auto_logits(one, one) == [dict(student='fc', teacher='fc')]


def test_the_scores_of_a_network_whose_backbone_ends_in_a_classifier_are_found():
    model = dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(type='mmpretrain.LeNet5', num_classes=3),
        head=dict(type='mmpretrain.ClsHead'),
        data_preprocessor=dict(mean=[0.0], std=[1.0], to_rgb=False),
    )
    one = trace(MODELS.build(model), (32, 32))
    assert Logits('backbone.classifier.2').resolve(one).channels == 3
    assert auto_logits(one, one) == [dict(student='backbone.classifier.2', teacher='backbone.classifier.2')]


def test_where_the_scores_are_not_returned_the_layers_of_as_many_channels_are_proposed():
    class Softmax(ToyClassifier):
        num_classes = 3

        def forward(self, x, data_samples=None, mode='tensor'):
            return super().forward(x).softmax(1)

    one = trace(Softmax(), (16, 16))
    with pytest.raises(ValueError, match=r'say where they are, in logits=\[.*\]; fc put out one channel a class$'):
        auto_logits(one, one)
    del Softmax.num_classes
    with pytest.raises(ValueError, match=r'such as logits=\[.*\] with the paths of two layers$'):
        auto_logits(trace(Softmax(), (16, 16)), one)


@pytest.mark.parametrize('returned', ['a feature', 'a softmax', 'nothing alone'])
def test_a_model_that_returns_something_else_is_named(returned):
    class Other(ToyClassifier):
        def forward(self, x, data_samples=None, mode='tensor'):
            scores = super().forward(x)
            return dict(
                [
                    ('a feature', self.backbone.layer1[1].relu(scores)),
                    ('a softmax', scores.softmax(1)),
                    ('nothing alone', (scores, x)),
                ]
            )[returned]

    one, other = trace(ToyClassifier(), (16, 16)), trace(Other(), (16, 16))
    for role, pair in (('student', (other, one)), ('teacher', (one, other))):
        with pytest.raises(ValueError, match=rf"logits='auto' finds no class scores, since the {role} does not return"):
            auto_logits(*pair)


def test_a_wrong_path_is_answered_with_the_scores():
    with pytest.raises(ValueError, match=r"place 'head' does not exist.*; class scores come out of 'fc'$"):
        Logits('head').resolve(trace(ToyClassifier(), (16, 16)))


def test_a_forward_that_stops_before_its_scores_is_named_with_its_error():
    broken = ToyClassifier()
    broken.fc = nn.Linear(broken.fc.in_features + 1, 4)
    one, other = trace(ToyClassifier(), (16, 16)), trace(broken, (16, 16))
    with pytest.raises(ValueError, match=r'finds no class scores, since the teacher stopped early: .*shape'):
        auto_logits(one, other)
