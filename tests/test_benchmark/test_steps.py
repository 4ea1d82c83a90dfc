import copy
from types import SimpleNamespace

import pytest
import torch
import toy
from mmengine.config import Config

from ovkd_mm.benchmark import steps
from ovkd_mm.benchmark.steps import PARTS, Steps
from ovkd_mm.hooks.classifying_heads import ClassifyingHead


@pytest.fixture
def config(monkeypatch):
    def made(toolkit, count, size, classes, channels=3):
        assert (count, size) == (4, (16, 16))
        images, labels = toy.batch(count)
        return dict(inputs=list(images), data_samples=labels)

    monkeypatch.setattr(steps, 'random_batch', made)
    model = toy.distiller_config()
    model['teacher'] = dict(model['teacher'], checkpoint='not there.pth', allow_random=False)
    return Config(dict(model=model, optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1))))


def built(config, channels_last=False):
    return Steps(config, 4, (16, 16), torch.device('cpu'), channels_last)


def test_each_part_runs_what_it_is_called_after(config, monkeypatch):
    one = built(config)
    seen = []

    def watch(name, module):
        module.register_forward_hook(lambda *_: seen.append(name))

    watch('student', one.model.student)
    watch('teacher', one.model.teacher)
    for index, pair in enumerate(one.model.pairs):
        watch(f'pair {index}', pair)
        watch(f'conv {index}', pair.student_transform.conv)
    expected = dict(
        student=['student'],
        teacher=['teacher'],
        connectors=['conv 0', 'conv 1'],
        pairs=['conv 0', 'pair 0', 'conv 1', 'pair 1'],
        distilled=['teacher', 'student', 'conv 0', 'pair 0', 'conv 1', 'pair 1'],
    )
    things = one.things()
    assert list(things) == list(expected) and set(PARTS) < set(things)
    for name, parts in expected.items():
        seen.clear()
        things[name]()
        assert seen == parts, name


def test_a_step_goes_backward_through_all_that_learns(config, monkeypatch):
    one = built(config)
    steps_done = []
    monkeypatch.setattr(one.optimizer, 'zero_grad', lambda **_: None)
    monkeypatch.setattr(one.optimizer.optimizer, 'step', lambda *_: steps_done.append(1))
    things = one.things()
    things['student']()
    assert all(weight.grad is not None for weight in one.model.student.parameters())
    assert all(weight.grad is None for weight in one.model.pairs.parameters())
    things['distilled']()
    assert all(weight.grad is not None for weight in one.model.pairs.parameters())
    assert len(steps_done) == 2


def test_steps_leave_the_weights_alone(config):
    one = built(config)
    before = {name: weight.clone() for name, weight in one.model.named_parameters()}
    for thing in one.things().values():
        thing()
    assert all(torch.equal(weight, before[name]) for name, weight in one.model.named_parameters())


@pytest.mark.parametrize('channels_last', [True, False])
def test_channels_last_is_how_all_features_lie(config, channels_last):
    one = built(config, channels_last)
    for feature in (*one.student_features, *one.features()):
        assert feature.is_contiguous(memory_format=torch.channels_last) is channels_last


def test_the_teacher_is_timed_not_its_cache_and_nothing_is_put_in_there(config, tmp_path):
    config.model.teacher.update(cache=str(tmp_path / 'cache'), norm_mode='running')
    one = built(config)
    for _ in range(2):
        one.things()['teacher']()
    assert not list(tmp_path.rglob('*'))


def test_what_has_no_parts_is_refused(config):
    plain = Config(dict(model=dict(type='ToyClassifier'), optim_wrapper=config.optim_wrapper))
    with pytest.raises(TypeError, match=r"model.type='ToyClassifier' is not a distillation"):
        built(plain)
    config.model.method.update(
        teacher_transform=dict(type='ovkd_mm.InputGradient'),
        student_transform=dict(type='ovkd_mm.InputGradient', differentiable=True),
        loss=dict(type='ovkd_mm.L2Loss'),
    )
    with pytest.raises(ValueError, match='differentiates with respect to the images'):
        built(config)


def test_a_weight_that_is_measured_is_not_measured_while_its_step_is_timed(config, monkeypatch):
    config.model.method.loss.loss_weight = 'auto'
    one = built(config)
    monkeypatch.setattr(one.model.pairs, 'measured', lambda *_: pytest.fail('measured'))
    for thing in one.things().values():
        thing()


def test_a_loss_that_takes_labels_gets_them(config):
    config.model.logits = [dict(teacher='fc', student='fc')]
    config.model.pop('pairs')
    config.model.method = dict(
        position=dict(type='ovkd_mm.Logits'),
        teacher_transform=dict(type='ovkd_mm.Identity'),
        student_transform=dict(type='ovkd_mm.Identity'),
        loss=dict(type='ovkd_mm.DKDLoss'),
    )
    one = built(config)
    seen = []
    one.model.pairs[0].loss.register_forward_hook(lambda loss, args, _: seen.append(args[2]))
    for name in ('pairs', 'distilled'):
        one.things()[name]()
    assert len(seen) == 2 and torch.equal(*seen)


def test_mmrazor_is_timed_with_an_optimizer_of_its_own(config, monkeypatch):
    monkeypatch.setattr(steps, 'mmrazor_model', lambda distiller: copy.deepcopy(distiller.student))
    one = Steps(config, 4, (16, 16), torch.device('cpu'), channels_last=True, mmrazor=True)
    peer, optimizer = one.peer
    learned = {id(weight) for group in optimizer.param_groups for weight in group['params']}
    assert learned == set(map(id, peer.parameters()))
    assert peer.backbone.stem.weight.is_contiguous(memory_format=torch.channels_last)
    seen = []
    peer.register_forward_hook(lambda *_: seen.append(1))
    monkeypatch.setattr(optimizer.optimizer, 'step', lambda *_: seen.append(2))
    one.things()['mmrazor']()
    assert seen == [1, 2]
    assert 'mmrazor' not in built(config).things()


@toy.MODELS.register_module(force=True)
class Fetching(toy.ToyClassifier):
    """Would ask the network for weights."""

    def __init__(self, pretrained: bool, **settings) -> None:
        super().__init__(**settings)
        if pretrained:
            pytest.fail('asked for weights')


def test_no_weights_are_fetched_of_what_is_only_timed(config, tmp_path):
    teacher = tmp_path / 'teacher.py'
    teacher.write_text("model = dict(type='Fetching', width=6, pretrained=True)")
    config.model.student = dict(type='Fetching', pretrained=True)
    config.model.teacher.model = str(teacher)
    built(config).things()['distilled']()


def test_labels_are_classes_of_every_head(config, monkeypatch):
    asked = []
    made = steps.random_batch
    monkeypatch.setattr(steps, 'random_batch', lambda *args: asked.append(args[3]) or made(*args))
    built(config)
    heads = {name: ClassifyingHead(SimpleNamespace(num_classes=classes)) for name, classes in (('a', 7), ('b', 5))}
    monkeypatch.setattr(steps, 'classifying_heads', lambda model: heads)
    built(config)
    assert asked == [2, 5]
