import math
import re

import pytest
from mmengine.registry import MODELS
from torch import nn
from toy import METHOD, distiller_config

from ovkd_mm.losses import L2Loss
from ovkd_mm.transforms import Identity, Transform


@MODELS.register_module(force=True)
class Plain(nn.Module):
    """Has the shape of a part, but not its contract."""

    def __init__(self, **offered):
        super().__init__()


@MODELS.register_module(force=True)
class Offered(Transform):
    """Keeps what it was handed."""

    def __init__(self, channels=None, norm=None, in_channels=None, out_channels=None):
        super().__init__()
        self.handed = dict(channels=channels, norm=norm, in_channels=in_channels, out_channels=out_channels)


def pairs_of(**method):
    return MODELS.build(distiller_config(method=METHOD | method)).pairs


@pytest.mark.parametrize(
    ('part', 'base'),
    [
        ('loss', 'ovkd_mm.losses.DistillLoss'),
        ('student_transform', 'ovkd_mm.transforms.Transform'),
        ('teacher_transform', 'ovkd_mm.transforms.Transform'),
    ],
)
def test_a_part_that_does_not_keep_the_contract_names_the_class_to_derive_from(part, base):
    with pytest.raises(TypeError, match=rf"method\.{part}\.type='Plain' is not a {base}; derive it"):
        pairs_of(**{part: dict(type='Plain')})


def test_a_transform_is_handed_what_it_names_of_its_own_side():
    offered = dict(type='Offered')
    for pair, (student, teacher) in zip(
        pairs_of(student_transform=offered, teacher_transform=offered), ((4, 6), (8, 12)), strict=True
    ):
        assert pair.student_transform.handed == dict(
            channels=None, norm=None, in_channels=student, out_channels=teacher
        )
        handed = pair.teacher_transform.handed
        assert handed.pop('norm').num_features == teacher
        assert handed == dict(channels=teacher, in_channels=None, out_channels=None)


def test_a_part_may_be_named_by_its_class():
    (first, _) = pairs_of(loss=dict(type=L2Loss), student_transform=dict(type=Identity))
    assert isinstance(first.loss, L2Loss) and isinstance(first.student_transform, Identity)


PLACES = dict(student='backbone.layer1', teacher='backbone.layer1')


@pytest.mark.parametrize(
    ('changes', 'kind', 'message'),
    [
        (dict(pairs=[]), ValueError, 'pairs is empty, so nothing would be distilled'),
        (
            dict(pairs=[PLACES | dict(weight='auto')]),
            ValueError,
            r"pairs\[0\].weight must be a number from 0 up, got 'auto'",
        ),
        (dict(pairs=[PLACES | dict(weight=-1)]), ValueError, r'pairs\[0\].weight must be a number from 0 up, got -1'),
        (dict(pairs=[PLACES | dict(weight=math.nan)]), ValueError, r'pairs\[0\].weight must be a number .* got nan'),
        (dict(pairs=[PLACES | dict(stage='last')]), ValueError, r"pairs\[0\].stage must be a whole number, got 'last'"),
        (dict(pairs=[PLACES | dict(loss='L2Loss')]), TypeError, r"pairs\[0\].loss must be a dict .* got 'L2Loss'"),
        (
            dict(method=METHOD | dict(position='ovkd_mm.PreReLU')),
            TypeError,
            r"method.position must be a dict .*PreReLU'",
        ),
        (dict(pairs=[PLACES | dict(resize='no')]), TypeError, r"pairs\[0\].resize must be True or False, got 'no'"),
        (
            dict(pairs=[dict(student=dict(path='backbone.layer9'), teacher='backbone.layer1')]),
            ValueError,
            r'pairs\[0\].student: .*backbone\.layer9',
        ),
        (dict(logits=[dict(nonsense=1)]), ValueError, r"logits\[0\] has no setting 'nonsense'"),
        (dict(method='kd', pairs=3), TypeError, "pairs must be 'auto' or a list of dicts, got 3"),
        (
            dict(method={**METHOD, 'loss': dict(loss_weight=1.0)}),
            ValueError,
            r'pairs\[0\].loss \(with the method\) has no type',
        ),
        (
            dict(teacher=dict(model=None, allow_random=True)),
            TypeError,
            "teacher.model must be a config's path.* got None",
        ),
        (dict(teacher=dict(allow_random=True)), TypeError, "teacher.model must be a config's path.* got None"),
        (
            dict(teacher=dict(model=dict(type='ToyClassifier'), checkpoint=5)),
            TypeError,
            'teacher.checkpoint must be a path or a URL, got 5',
        ),
        (dict(method=METHOD | dict(weight=True)), ValueError, "method.weight must be a number from 0 up or 'halved'"),
        (
            dict(method=METHOD | dict(loss=METHOD['loss'] | dict(loss_weight=-1.0))),
            ValueError,
            'PartialL2Loss.loss_weight must be a number from 0 up, got -1.0',
        ),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_what_it_can_be(changes, kind, message):
    with pytest.raises(kind, match=message):
        MODELS.build(distiller_config(**changes))


GROUP, MATRIX = dict(type='ovkd_mm.GroupEnds'), dict(type='ovkd_mm.GramMatrix')


@pytest.mark.parametrize(
    ('parts', 'of'),
    [
        (dict(position=GROUP), "student_transform.type='ovkd_mm.Conv1x1' takes features of one place"),
        (
            dict(position=GROUP, student_transform=MATRIX),
            "teacher_transform.type='ovkd_mm.MarginReLU' takes features of one",
        ),
        (dict(student_transform=MATRIX), "student_transform.type='ovkd_mm.GramMatrix' takes features of two places"),
    ],
)
def test_transforms_of_one_place_and_of_two_are_not_mixed_up(parts, of):
    with pytest.raises(ValueError, match=re.escape(f'pairs[0]: {of}') + '.*GroupEnds and ovkd_mm.GramMatrix'):
        pairs_of(**parts)


def test_a_part_without_a_type_changes_of_the_methods_what_it_says():
    pairs = [PLACES | dict(loss=dict(loss_weight=7.0)), PLACES]
    first, second = MODELS.build(distiller_config(pairs=pairs)).pairs
    assert type(first.loss) is type(second.loss)
    assert (first.loss.loss_weight, second.loss.loss_weight) == (7.0, METHOD['loss']['loss_weight'])


def test_the_weight_without_an_activation_is_measured_or_written_down_by_itself():
    stem = dict(student='backbone.stem', teacher='backbone.stem')  # which nothing activates

    def autos(weight, without):
        linear = dict(loss=dict(loss_weight=without)) if without else dict(loss=dict(type='ovkd_mm.L2Loss'))
        method = METHOD | dict(loss=METHOD['loss'] | dict(loss_weight=weight), without_activation=linear)
        return [pair for pair in MODELS.build(distiller_config(method=method, pairs=[PLACES, stem])).pairs]

    activated, plain = autos('auto', 0.5)
    assert activated.auto_weight and plain.auto_weight is None and plain.loss.loss_weight == 0.5
    activated, plain = autos(0.5, 'auto')
    assert activated.auto_weight is None and activated.loss.loss_weight == 0.5
    assert plain.auto_weight and plain.loss.loss_weight == 1.0
    activated, plain = autos('auto', None)
    assert activated.auto_weight is plain.auto_weight is not None


def test_a_part_that_a_pair_names_itself_is_the_same_without_an_activation():
    own = dict(student='backbone.stem', teacher='backbone.stem', loss=dict(type='ovkd_mm.L2Loss', loss_weight=7.0))
    linear = dict(loss=dict(type='ovkd_mm.PartialL2Loss', loss_weight=5.0))
    method = METHOD | dict(without_activation=linear)
    (pair,) = MODELS.build(distiller_config(method=method, pairs=[own])).pairs
    assert isinstance(pair.loss, L2Loss) and pair.loss.loss_weight == 7.0


@pytest.mark.parametrize('weight', [3.0, 'auto'])
def test_a_weight_that_a_pair_sets_leaves_the_loss_without_an_activation_as_it_is(weight):
    own = dict(student='backbone.stem', teacher='backbone.stem', loss=dict(loss_weight=weight))
    method = METHOD | dict(without_activation=dict(loss=dict(type='ovkd_mm.L2Loss', reduction='sum', loss_weight=5.0)))
    (pair,) = MODELS.build(distiller_config(method=method, pairs=[own])).pairs
    assert isinstance(pair.loss, L2Loss) and pair.loss.reduction == 'sum'
    assert pair.auto_weight if weight == 'auto' else pair.loss.loss_weight == weight


@pytest.mark.parametrize('role', ['student', 'teacher'])
def test_a_pair_with_a_vector_is_refused_and_one_of_class_scores_is_not(role):
    pairs = [dict(student='backbone.layer1', teacher='backbone.layer1'), dict(student='fc', teacher='fc')]
    pairs[1] |= {} if role == 'student' else dict(student='backbone.layer2')
    message = rf"^pairs\[1\]\.{role}='fc' is a vector of 3, and .*: name the last map before the pooling"
    with pytest.raises(ValueError, match=message):
        MODELS.build(distiller_config(pairs=pairs))
    (pair,) = MODELS.build(distiller_config(method='kd', logits=pairs[1:] if role == 'student' else 'auto')).pairs
    assert pair.student_place.shape == (3,)


@MODELS.register_module(force=True)
class OfClasses(L2Loss):
    """Has a number of classes of its own."""

    def __init__(self, loss_weight=1.0, classes=21):
        super().__init__(loss_weight)
        self.classes = classes


def test_a_loss_gets_the_classes_of_its_pair_and_keeps_its_own_where_that_has_none():
    places = dict(teacher='backbone.layer1', student='backbone.layer1')
    model = distiller_config(method=METHOD | dict(loss=dict(type='OfClasses')), pairs=[places, dict(places, classes=7)])
    assert [pair.loss.classes for pair in MODELS.build(model).pairs] == [21, 7]


@pytest.mark.parametrize('classes', ['seven', 0, 2.5])
def test_classes_are_a_number(classes):
    pair = dict(teacher='backbone.layer1', student='backbone.layer1', classes=classes)
    with pytest.raises(ValueError, match=r'^pairs\[0\]\.classes must be a whole number above 0, got '):
        MODELS.build(distiller_config(pairs=[pair]))
