"""Methods that add up."""

import pytest
import torch
import toy
from mmengine.registry import MODELS
from torch import nn
from toy import METHOD, PAIRS, distiller_config

from ovkd_mm.distillers import feature_distiller
from ovkd_mm.method_files import read_method

AT = dict(
    position=dict(type='ovkd_mm.EndOfGroup'),
    teacher_transform=dict(type='ovkd_mm.AttentionMap'),
    student_transform=dict(type='ovkd_mm.AttentionMap'),
    loss=dict(type='ovkd_mm.L2Loss', loss_weight=10.0),
)
SCORES = [dict(student='fc', teacher='fc')]


def build(method, **changes):
    torch.manual_seed(0)
    model = MODELS.build(distiller_config(method=method, **changes)).train()
    return model


def step(model):
    losses = model(*toy.batch(), mode='loss')
    distillation = [value for name, value in losses.items() if name.startswith('loss_distill_')]
    sum(distillation).backward()
    return distillation, {name: weight.grad for name, weight in model.student.named_parameters()}


def test_losses_and_gradients_of_two_methods_are_the_sum_of_the_separate_ones():
    both = build([METHOD, 'kd'], logits=SCORES)
    first, second = build(METHOD), build(dict(read_method('kd'), norm_mode='batch'), logits=SCORES)
    for one in (first, second):
        one.student.load_state_dict(both.student.state_dict())
        one.teacher.model.load_state_dict(both.teacher.model.state_dict())
    first.pairs.load_state_dict({k: v for k, v in both.pairs.state_dict().items() if not k.startswith('2.')})
    (found, gradients), (features, one), (scores, other) = step(both), step(first), step(second)
    assert len(features) == len(PAIRS) and len(scores) == 1
    torch.testing.assert_close(found, features + scores)
    for name, gradient in gradients.items():
        parts = [part[name] for part in (one, other) if part[name] is not None]
        torch.testing.assert_close(gradient, sum(parts))
    assert all(any(part[name] is not None for part in (one, other)) for name in gradients)


@pytest.mark.parametrize(
    ('method', 'own', 'by_batch'),
    [
        ('ofd', {}, True),
        (METHOD, {}, True),
        ('kd', {}, False),
        (['kd', 'at'], {}, False),
        (['kd', 'ofd'], {}, True),
        ('kd', dict(norm_mode='batch'), True),
        ('ofd', dict(norm_mode='running'), False),
    ],
    ids=str,
)
def test_a_teacher_normalizes_as_its_methods_ask_by_the_batch_if_one_of_them_does(method, own, by_batch):
    teacher = dict(toy.distiller_config()['teacher'], **own)
    model = build(method, teacher=teacher, logits=SCORES)
    assert {norm.training for norm in model.teacher.modules() if isinstance(norm, nn.BatchNorm2d)} == {by_batch}


def test_statistics_that_there_are_not_are_refused():
    with pytest.raises(ValueError, match=r"method\.norm_mode must be 'batch' or 'running', got 'frozen'"):
        build(dict(METHOD, norm_mode='frozen'))


def test_a_frozen_place_of_one_method_is_an_error_beside_one_that_looks_at_the_images():
    model = build(['ofd', 'jacobian'])
    model.student.backbone.stem.requires_grad_(False)
    model.student.backbone.layer1.requires_grad_(False)
    with pytest.raises(ValueError, match=r"'backbone\.layer1' comes out with no grad"):
        model(*toy.batch(), mode='loss')


def test_a_method_of_a_list_may_have_pairs_of_its_own():
    own = [dict(student='backbone.layer2', teacher='backbone.layer2', weight=7.0)]
    model = build([METHOD, dict(AT, pairs=own)])
    assert [pair.student_place.name for pair in model.pairs] == [
        'backbone.layer1',
        'backbone.layer2',
        'backbone.layer2',
    ]
    assert [type(pair.loss).__name__ for pair in model.pairs] == ['PartialL2Loss'] * 2 + ['L2Loss']
    # Halving counts the stages of one method alone.
    assert [pair.weight for pair in model.pairs] == [0.5, 1.0, 7.0]


def test_the_hooks_of_all_methods_are_there():
    hooks = [dict(type='ovkd_mm.ChannelsLastHook')], [dict(type='ovkd_mm.DistillScheduleHook')]
    model = build([dict(METHOD, hooks=hooks[0]), dict(AT, hooks=hooks[1])])
    assert model.hooks[1:] == [*hooks[0], *hooks[1]]


def test_a_config_of_several_methods_trains(tmp_path):
    config = distiller_config(method=[METHOD, 'kd'], logits=SCORES)
    runner = toy.toy_runner(tmp_path, model=config)
    runner.train()
    assert len(runner.model.pairs) == 3


@pytest.mark.parametrize(('own', 'said'), [({}, True), (dict(norm_mode='running'), False)])
def test_methods_that_ask_for_other_statistics_are_spoken_of(own, said, monkeypatch):
    log = []
    monkeypatch.setattr(feature_distiller, 'print_log', lambda text, **_: log.append(text))
    build(['kd', 'ofd'], teacher=dict(toy.distiller_config()['teacher'], **own), logits=SCORES)
    assert any('it normalizes by the batch for all of them' in text for text in log) == said
