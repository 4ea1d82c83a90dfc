import copy
import weakref
from unittest import mock

import pytest
import torch
from mmdet.models.data_preprocessors import MultiBranchDataPreprocessor
from mmengine.model import BaseModel, ExponentialMovingAverage, ImgDataPreprocessor
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import MODELS
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from torch import nn
from toy import METHOD, PAIRS, batch, distiller_config

from ovkd_mm.distillers import Teacher, feature_distiller
from ovkd_mm.distillers.finite_check import FiniteCheck
from ovkd_mm.functional import batch_norm_margin, margin_relu, partial_l2
from ovkd_mm.losses import PartialL2Loss
from ovkd_mm.positions import PreReLU
from ovkd_mm.transforms import Conv1x1, MarginReLU


def build(**changes):
    return MODELS.build(distiller_config(**changes))


def train(model: BaseModel, steps: int, **optimizer) -> BaseModel:
    model.train()
    wrapper = OptimWrapper(
        torch.optim.SGD(model.parameters(), **(dict(lr=0.1, momentum=0.9, weight_decay=1e-3) | optimizer))
    )
    for step in range(steps):
        inputs, labels = batch(seed=step)
        losses = model(inputs, labels, mode='loss')
        wrapper.update_params(model.parse_losses(losses)[0])
    return model


def build_plain(seed=0, **student):
    torch.manual_seed(seed)
    model = MODELS.build(dict(type='ToyClassifier') | student)
    model.init_weights()
    return model


def with_weight_zero(seed=0, **student):
    torch.manual_seed(seed)
    pairs = [pair | dict(weight=0.0) for pair in PAIRS]
    model = build(student=dict(type='ToyClassifier') | student, pairs=pairs)
    model.init_weights()
    return model


def assert_same_weights(model, plain):
    state = model.state_dict()
    for key, value in plain.state_dict().items():
        assert torch.equal(state[key], value), key


@pytest.mark.parametrize('inplace', [True, False])
def test_with_weight_zero_twenty_iterations_are_those_of_the_plain_student_bit_for_bit(inplace):
    # Dropout draws random numbers in every step, so the generators must go the same way too.
    student = dict(inplace=inplace, dropout=0.3)
    plain = build_plain(**student)
    plain_after = train(plain, 20)
    state = torch.get_rng_state()
    distilled = train(with_weight_zero(**student), 20)
    assert_same_weights(distilled, plain_after)
    assert torch.equal(torch.get_rng_state(), state)


class TwoViews(MODELS.get('ToyClassifier')):
    """Trained on two batches at once, as semi- and self-supervised models are."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'loss':
            views = inputs.values() if isinstance(inputs, dict) else inputs
            return dict(loss_views=[super(TwoViews, self).forward(view, data_samples, mode)['loss'] for view in views])
        return super().forward(inputs, data_samples, mode)


@pytest.mark.parametrize('kind', [list, dict])
@pytest.mark.parametrize('where', ['model', 'pairs'])
def test_where_nothing_weighs_the_student_takes_any_inputs(kind, where):
    pairs = PAIRS if where == 'model' else [pair | dict(weight=0.0) for pair in PAIRS]
    distilled = build(student=dict(type=TwoViews), pairs=pairs).train()
    distilled.distill_weight = 0.0 if where == 'model' else 1.0
    views, labels = [batch(seed=seed)[0] for seed in (0, 1)], batch()[1]
    inputs = views if kind is list else dict(zip(('first', 'second'), views, strict=True))
    losses = distilled(inputs, labels, mode='loss')
    assert [losses[f'loss_distill_{index}'] for index in (0, 1)] == [0, 0]
    distilled.parse_losses(losses)[0].backward()
    assert all(parameter.grad is not None for parameter in distilled.parameters())


@pytest.mark.parametrize(
    ('inputs', 'what'), [([1, 2], 'a list'), (dict(sup=1, unsup=2), r"a dict of \['sup', 'unsup'\]")]
)
def test_a_student_that_is_trained_on_several_batches_cannot_be_distilled(inputs, what):
    distilled = build(student=dict(type=TwoViews)).train()
    with pytest.raises(TypeError, match=f'student TwoViews cannot be distilled: in training its inputs are {what}'):
        distilled(inputs, None, mode='loss')


def test_a_student_whose_preprocessor_makes_several_batches_is_refused_when_it_is_built():
    class SemiSupervised(TwoViews):
        def __init__(self):
            super().__init__()
            self.data_preprocessor = MultiBranchDataPreprocessor(dict(type='mmdet.DetDataPreprocessor'))

    message = (
        'student SemiSupervised cannot be distilled: its data preprocessor, MultiBranchDataPreprocessor, hands it '
        'several batches .* Name a student whose forward takes one, such as the detector inside a semi-supervised one$'
    )
    with pytest.raises(ValueError, match=message):
        build(student=dict(type=SemiSupervised), pairs='auto')


class WithDepth(MODELS.get('ToyClassifier')):
    """Its images have four channels, of which no mean tells."""

    def __init__(self, data_preprocessor=None):
        super().__init__()
        self.data_preprocessor = ImgDataPreprocessor()
        self.backbone.stem = torch.nn.Conv2d(4, 4, 3, 2, 1)


def test_of_four_channels_a_student_without_a_mean_learns_from_a_teacher_of_four_and_from_no_other():
    student, teacher = dict(type=WithDepth), dict(model=dict(type=WithDepth, data_preprocessor={}), allow_random=True)
    distilled = build(student=student, teacher=teacher).train()
    losses = distilled(torch.randn(2, 4, 16, 16), torch.tensor([0, 1]), mode='loss')
    assert losses['loss_distill_0'] > 0
    with pytest.raises(ValueError, match="the student's images have 4 channels and the teacher's 3: set teacher"):
        build(student=student)
    with pytest.raises(ValueError, match="the student's images have 3 channels and the teacher's 4: set teacher"):
        build(teacher=teacher)


@pytest.mark.parametrize('shape', [16, (16,), (16, 0), (16.5, 16), '16', (3, 16, 16)])
def test_an_input_shape_that_is_none_is_named(shape):
    with pytest.raises(ValueError, match=r'input_shape must be \(H, W\) in pixels'):
        build(input_shape=shape)


def test_the_teacher_rests_where_no_pair_weighs():
    distilled = with_weight_zero().train()
    with mock.patch.object(distilled.teacher, 'forward', side_effect=AssertionError):
        distilled(*batch(), mode='loss')


def test_with_a_weight_the_student_learns_something_else():
    plain = train(build_plain(), 3)
    torch.manual_seed(0)
    distilled = build()
    distilled.init_weights()
    train(distilled, 3)
    assert not torch.equal(distilled.state_dict()['fc.weight'], plain.state_dict()['fc.weight'])


def test_prediction_and_tensor_modes_are_the_students():
    distilled, plain = with_weight_zero().eval(), build_plain().eval()
    inputs, _ = batch()
    for mode in ('predict', 'tensor'):
        assert torch.equal(distilled(inputs, mode=mode), plain(inputs, mode=mode))
    data = dict(inputs=list(inputs), data_samples=None)
    assert torch.equal(distilled.val_step(data), plain.val_step(data))
    assert torch.equal(distilled.test_step(data), plain.test_step(data))


def test_losses_equal_the_formula_on_a_hand_written_forward():
    distilled = build().train()
    inputs, labels = batch()

    def stages(backbone):
        """Pre-activation outputs of layer1 and layer2, by hand."""
        x = backbone.stem(inputs)
        for block in (*backbone.layer1, *backbone.layer2):
            out = block.conv2(block.relu(block.bn1(block.conv1(x)).clone()))
            out = block.bn2(out) + block.downsample(x)
            x = out.relu()
            yield out

    teacher = copy.deepcopy(distilled.teacher.model.backbone).train()
    student = copy.deepcopy(distilled.student.backbone).train()
    connectors = [copy.deepcopy(pair.student_transform) for pair in distilled.pairs]
    with torch.no_grad():
        _, *teachers = stages(teacher)
    _, *students = stages(student)
    losses = distilled(inputs, labels, mode='loss')
    norms = [teacher.layer1[1].bn2, teacher.layer2[0].bn2]
    for i, weight in enumerate((0.5, 1.0)):
        margin = batch_norm_margin(norms[i].weight, norms[i].bias)
        expected = weight * 1e-3 * partial_l2(connectors[i](students[i]), margin_relu(teachers[i], margin)) / 4
        torch.testing.assert_close(losses[f'loss_distill_{i}'], expected, rtol=1e-5, atol=0)


def test_the_log_shows_the_whole_loss_the_tasks_and_the_part_that_each_pair_skips():
    distilled = build().train()
    compared = []
    for pair in distilled.pairs:
        pair.loss.register_forward_pre_hook(lambda module, args: compared.append(args))
    losses = distilled(*batch(), mode='loss')
    total, log = distilled.parse_losses(losses)
    distillation = losses['loss_distill_0'] + losses['loss_distill_1']
    torch.testing.assert_close(total, losses['loss'] + distillation)  # what is for the log alone is not learned from
    assert list(log)[:2] == ['loss', 'loss_task']
    assert log['loss'] is total
    assert log['loss_task'] == losses['loss']
    for index, (student, teacher) in enumerate(compared):
        skipped = ((student <= teacher) & (teacher <= 0)).float().mean().item()
        assert 0 < skipped < 1
        assert log[f'distill_skipped_{index}'] == pytest.approx(skipped, rel=1e-6)


def test_while_nothing_is_distilled_the_log_says_that_all_is_skipped():
    distilled = build().train()
    distilled(*batch(), mode='loss')
    distilled.distill_weight = 0.0
    losses = distilled(*batch(), mode='loss')
    assert [losses[f'distill_skipped_{index}'] for index in (0, 1)] == [1, 1]


def test_the_gradient_reaches_student_and_connectors_and_nothing_else():
    distilled = build().train()
    losses = distilled(*batch(), mode='loss')
    (losses['loss_distill_0'] + losses['loss_distill_1']).backward()
    touched = {name for name, parameter in distilled.named_parameters() if parameter.grad is not None}
    assert any(name.startswith('student.backbone.layer2') for name in touched)
    assert {'pairs.0.student_transform.conv.weight', 'pairs.1.student_transform.bn.bias'} <= touched
    assert not any(name.startswith('student.fc') for name in touched)
    assert all(parameter.grad is None for parameter in distilled.teacher.parameters())


def test_the_teacher_is_bit_identical_after_training_though_it_normalizes_by_the_batch():
    distilled = build()
    before = copy.deepcopy(distilled.teacher.state_dict())
    train(distilled, 3)
    after = distilled.teacher.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert any('running_mean' in key for key in before)


def test_the_checkpoint_is_the_plain_students_beside_the_training_only_parts():
    distilled, plain = build(), build_plain()
    for state in (distilled.state_dict(), get_state_dict(distilled)):
        stock = [key for key in state if not key.startswith('distiller.')]
        assert stock == list(plain.state_dict())
        assert {key.split('.')[2] for key in state if key not in stock} == {'0', '1'}
        assert all('student_transform' in key for key in state if key not in stock)
    metadata = distilled.state_dict()._metadata
    assert metadata['backbone.layer1.0.bn1'] == plain.state_dict()._metadata['backbone.layer1.0.bn1']


@pytest.mark.parametrize('load', [lambda m, s: m.load_state_dict(s), lambda m, s: load_state_dict(m, s, strict=True)])
def test_a_checkpoint_comes_back_whole(load):
    trained, fresh = train(build(), 2), build()
    state = trained.state_dict()
    keys = list(state)
    load(fresh, state)
    assert list(state) == keys
    for key, value in fresh.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_the_plain_student_loads_the_checkpoint_and_the_distiller_a_plain_one():
    trained, plain = train(build(), 2), build_plain()
    result = plain.load_state_dict(trained.state_dict(), strict=False)
    assert not result.missing_keys
    assert all(key.startswith('distiller.') for key in result.unexpected_keys)
    fresh = build()
    result = fresh.load_state_dict(plain.state_dict(), strict=False)
    assert not result.unexpected_keys
    assert_same_weights(fresh, plain)


def test_module_versions_travel_with_the_keys():
    """Modules with versions must not take a new checkpoint for an old one, in either direction."""
    seen = []

    class Versioned(torch.nn.Linear):
        _version = 7

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
            seen.append(local_metadata.get('version'))
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    distilled, plain = build(), build_plain()
    distilled.student.fc, plain.fc = Versioned(8, 3), Versioned(8, 3)
    load_state_dict(distilled, get_state_dict(distilled))
    load_state_dict(plain, get_state_dict(distilled))
    load_state_dict(distilled, get_state_dict(plain))
    assert seen == [7, 7, 7]


def test_optimizer_and_ema_hold_no_teacher():
    distilled = build()
    teacher = {id(parameter) for parameter in distilled.teacher.parameters()}
    wrapper = build_optim_wrapper(distilled, dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)))
    held = [parameter for group in wrapper.param_groups for parameter in group['params']]
    assert len(held) == len(list(distilled.parameters()))
    assert not teacher & {id(parameter) for parameter in held}
    average = ExponentialMovingAverage(distilled)
    assert average.module.teacher is distilled.teacher
    assert average.module.student is not distilled.student
    assert average.module._taps[0] is not distilled._taps[0]


def test_the_copy_reads_its_own_features():
    distilled = build().train()
    inputs, labels = batch()
    distilled(inputs, labels, mode='loss')  # now the hooks are in place, and are copied
    copied = copy.deepcopy(distilled)
    with torch.no_grad():
        copied.student.backbone.layer2[0].bn2.weight[::2] *= -1
    original, changed = (model(inputs, labels, mode='loss')['loss_distill_1'] for model in (distilled, copied))
    assert original != changed
    assert distilled._taps[0].feature is None


def test_the_teacher_follows_to_another_dtype_and_stays_in_its_mode():
    distilled = build().double()
    assert next(distilled.teacher.parameters()).dtype == torch.float64
    distilled.train()
    assert not distilled.teacher.model.backbone.dropout.training
    assert distilled.student.backbone.dropout.training


@pytest.mark.parametrize('recurse', [True, False])
def test_what_moves_the_model_alone_leaves_the_teachers_layers_where_they_are(recurse):
    for move in (
        lambda model: model.to_empty(device='meta', recurse=recurse),
        lambda model: model._apply(lambda tensor: tensor.to('meta'), recurse),
    ):
        moved = move(build())
        assert moved.student.fc.weight.is_meta == moved.teacher.model.fc.weight.is_meta == recurse


def test_of_a_students_several_losses_each_is_weighed_and_what_is_no_loss_is_not():
    @MODELS.register_module(force=True)
    class Detector(MODELS.get('ToyClassifier')):
        def forward(self, inputs, data_samples=None, mode='tensor'):
            found = super().forward(inputs, data_samples, mode)
            if mode != 'loss':
                return found
            return dict(loss_cls=[found['loss'], 2 * found['loss']], loss_box=3 * found['loss'], acc=found['loss'])

    distilled = build(student=dict(type='Detector')).train()
    whole = distilled(*batch(), mode='loss')
    distilled.task_weight = 0.25
    weighed = distilled(*batch(), mode='loss')
    loss = whole['acc']
    assert weighed['loss_cls'] == [0.25 * loss, 0.5 * loss]
    assert weighed['loss_box'] == 0.75 * loss
    assert weighed['acc'] == loss


def test_what_a_hook_looks_for_is_found_on_the_student():
    distilled = build()
    assert distilled.fc is distilled.student.fc
    assert distilled.data_preprocessor is distilled.student.data_preprocessor
    with pytest.raises(AttributeError):
        distilled.bbox_head  # noqa: B018


def test_losses_are_float32_under_autocast():
    distilled = build().train()
    with torch.autocast('cpu', torch.bfloat16):
        losses = distilled(*batch(), mode='loss')
    assert losses['loss_distill_0'].dtype == torch.float32


def test_a_data_preprocessor_beside_the_model_is_the_students_if_it_has_none():
    given = []

    @MODELS.register_module(force=True)
    class Recorder(MODELS.get('ToyClassifier')):
        def __init__(self, data_preprocessor=None, **kwargs):
            super().__init__(**kwargs)
            given.append(data_preprocessor)

    build(student=dict(type='Recorder'), data_preprocessor=dict(type='ImgDataPreprocessor'))
    own = dict(type='ImgDataPreprocessor', pad_value=7)
    build(student=dict(type='Recorder', data_preprocessor=own), data_preprocessor=dict(type='ImgDataPreprocessor'))
    assert given == [dict(type='ImgDataPreprocessor'), own]


def test_auto_pairs_join_each_common_size_with_halved_weights():
    distilled = build(pairs='auto')
    assert [(pair.student_place.size, pair.weight) for pair in distilled.pairs] == [((8, 8), 0.5), ((4, 4), 1.0)]
    assert [pair.teacher_place.path for pair in distilled.pairs] == ['backbone.layer1.1.relu', 'backbone.layer2.0.relu']
    config = distiller_config()
    del config['pairs']
    by_default = MODELS.build(config)
    assert [pair.extra_repr() for pair in by_default.pairs] == [pair.extra_repr() for pair in distilled.pairs]


@pytest.mark.parametrize(
    ('weight', 'first', 'second', 'expected'),
    [
        ('halved', {}, {}, [0.5, 1.0]),
        ('halved', dict(stage=1), dict(stage=-2), [1.0, 0.125]),
        ('halved', dict(stage=0), dict(weight=3.0, stage=1), [0.5, 3.0]),
        (2.0, dict(stage=5), {}, [2.0, 2.0]),
        (None, {}, dict(weight=3.0), [1.0, 3.0]),
    ],
)
def test_the_method_says_what_a_pair_weighs_unless_the_pair_says_it_itself(weight, first, second, expected):
    pairs = [dict(student=f'backbone.layer{n}', teacher=f'backbone.layer{n}') for n in (1, 2)]
    method = {key: value for key, value in METHOD.items() if key != 'weight'}
    method |= {} if weight is None else dict(weight=weight)
    distilled = build(method=method, pairs=[pairs[0] | first, pairs[1] | second])
    assert [pair.weight for pair in distilled.pairs] == expected


def test_an_unknown_rule_for_the_pairs_weights_is_an_error_that_names_both_choices():
    with pytest.raises(ValueError, match=r"method.weight must be a number from 0 up or 'halved', got 'doubled'"):
        build(method=METHOD | dict(weight='doubled'))


def test_a_pair_overrides_parts_of_the_method_and_a_place_its_position():
    pair = dict(
        student=dict(type='ovkd_mm.ModuleOutput', path='backbone.layer2'),
        teacher='backbone.layer2',
        loss=dict(type='ovkd_mm.PartialL2Loss', loss_weight=7.0),
    )
    distilled = build(pairs=[PAIRS[0], pair])
    assert [pair.loss.loss_weight for pair in distilled.pairs] == [METHOD['loss']['loss_weight'], 7.0]
    assert [tap.place.side for tap in distilled._taps] == ['input', 'output']


def test_parts_may_be_named_by_their_classes():
    kinds = dict(position=PreReLU, teacher_transform=MarginReLU, student_transform=Conv1x1)
    method = {key: dict(type=kind) for key, kind in kinds.items()}
    distilled = build(method=method | dict(loss=dict(type=PartialL2Loss, loss_weight=7.0)))
    assert [pair.student_place for pair in distilled.pairs] == [pair.student_place for pair in build().pairs]
    assert [pair.loss.loss_weight for pair in distilled.pairs] == [7.0, 7.0]


def test_a_part_that_does_not_exist_is_named():
    with pytest.raises(KeyError, match='NoSuchLoss'):
        build(method=METHOD | dict(loss=dict(type='ovkd_mm.NoSuchLoss')))


def test_the_students_config_is_left_as_it_is():
    @MODELS.register_module(force=True)
    class Popping(MODELS.get('ToyClassifier')):
        def __init__(self, backbone, data_preprocessor=None):
            super().__init__(**{key: backbone.pop(key) for key in list(backbone)})

    student = dict(type='Popping', backbone=dict(width=5))
    assert build(student=student, data_preprocessor=dict()).student.backbone.stem.out_channels == 5
    assert student == dict(type='Popping', backbone=dict(width=5))


def test_what_is_said_of_the_students_channels_counts_for_the_teachers_inputs():
    assert build(channel_order='rgb').teacher.renormalize.swap
    assert not build(channel_order='bgr').teacher.renormalize.swap


def test_the_log_names_each_pair_and_the_margin_of_its_teacher(monkeypatch):
    said = mock.Mock()
    monkeypatch.setattr(feature_distiller, 'print_log', said)
    pairs = [(pair.extra_repr(), pair.teacher_transform.extra_repr()) for pair in build().pairs]
    expected = [mock.call(f'distilling {places}, MarginReLU({margin})', logger='current') for places, margin in pairs]
    assert said.call_args_list == expected
    assert 'backbone.layer1' in pairs[0][0] and pairs[0][1]


@pytest.mark.parametrize('key', ['student_preprocessor', 'student_order', 'input_shape', 'chekpoint'])
def test_a_setting_that_the_teacher_does_not_take_is_answered_with_those_that_it_does(key):
    known = 'it is none of model, checkpoint, norm_mode, allow_random, channel_order, dtype, compile, cache'
    expected = f"teacher has no setting '{key}'; {'nearest: checkpoint' if key == 'chekpoint' else known}$"
    with pytest.raises(ValueError, match=expected):
        build(teacher=dict(model=dict(type='ToyClassifier'), allow_random=True) | {key: None})


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(pairs='all'), "'all'"),
        (dict(pairs=[dict(student='backbone.layer1')]), r'pairs\[0\].*lacks teacher'),
        (dict(pairs=[PAIRS[0] | dict(wieght=1)]), r"pairs\[0\] has no setting 'wieght'; nearest: weight"),
        (dict(method=METHOD | dict(lss=1)), "method has no setting 'lss'; nearest: loss"),
        (dict(method={k: METHOD[k] for k in ('position', 'loss')}), 'teacher_transform'),
        (dict(method={k: METHOD[k] for k in METHOD if k != 'position'}), r'pairs\[0\].*lacks position'),
        (
            dict(pairs=[PAIRS[0] | dict(student='backbone.layer3')]),
            r'pairs\[0\].student.*backbone.layer3.*backbone.layer2',
        ),
        (dict(pairs=[PAIRS[0] | dict(teacher='backbone.layer3')]), r'^pairs\[0\].teacher: place .backbone.layer3.'),
        (dict(pairs=[PAIRS[0] | dict(teacher='backbone.layer2')]), 'student .backbone.layer1. is 8x8.*is 4x4'),
        (dict(teacher=dict(model=dict(type='ToyClassifier'))), r'teacher.checkpoint.*allow_random'),
    ],
)
def test_a_config_that_cannot_work_is_told_which_key_is_wrong(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_unequal_sizes_are_resized_on_request():
    distilled = build(pairs=[PAIRS[0] | dict(teacher='backbone.layer2', resize=True)]).train()
    loss = distilled(*batch(), mode='loss')['loss_distill_0']
    assert torch.isfinite(loss)
    assert loss.requires_grad


class Tokens(MODELS.get('ToyClassifier')):
    """Looks at patches in a row, as transformers do."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.patches, self.norm = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        logits = self.fc(self.norm(self.patches(inputs).flatten(2).transpose(1, 2)).mean(1))
        return dict(loss=nn.functional.cross_entropy(logits, data_samples)) if mode == 'loss' else logits


@pytest.mark.parametrize('size', [(16, 32), (32, 16), (8, 24)])
def test_tokens_of_images_of_any_size_are_maps_of_that_size(size):
    model = build(
        student=dict(type=Tokens),
        teacher=dict(model=dict(type=Tokens), allow_random=True),
        pairs=[dict(student='norm', teacher='norm')],
        input_shape=(16, 32),
    )
    seen = []
    model.pairs[0].register_forward_pre_hook(lambda module, args: seen.extend(args[:2]))
    inputs = torch.randn(2, 3, *size)
    model(inputs, torch.zeros(2, dtype=torch.long), mode='loss')
    for map_, net in zip(seen, (model.student, model.teacher.model), strict=True):
        torch.testing.assert_close(map_, net.norm(net.patches(inputs).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


def test_a_place_without_gradient_is_named():
    distilled = build().train()
    for module in (distilled.student.backbone.stem, distilled.student.backbone.layer1):
        module.requires_grad_(False)
    with pytest.raises(ValueError, match=r'backbone\.layer1.*no grad'):
        distilled(*batch(), mode='loss')


def test_a_teacher_feature_that_is_not_finite_is_named():
    distilled = build().train()
    with torch.no_grad():
        distilled.teacher.model.backbone.layer2[0].bn2.weight[0] = float('nan')
    with pytest.raises(ValueError, match=r'teacher feature at backbone\.layer2.*NaN'):
        distilled(*batch(), mode='loss')


@pytest.mark.parametrize('mode', ['loss', 'tensor'])
def test_what_was_asked_of_a_gpu_in_one_iteration_is_said_in_the_next(mode):
    distilled = build()
    pending = torch.tensor(False), None, [distilled.pairs[1].teacher_place], lambda: [torch.tensor(torch.inf)]
    distilled._finite_check._pending = pending
    with pytest.raises(ValueError, match=r'teacher feature at backbone\.layer2'):
        distilled(*batch(), mode=mode)


def test_no_teacher_feature_is_held_until_a_gpu_has_said_so(monkeypatch):
    distilled, features = build().train(), []
    read = Teacher.forward
    monkeypatch.setattr(
        Teacher,
        'forward',
        lambda self, *args, **kwargs: [features.append(weakref.ref(one)) or one for one in read(self, *args, **kwargs)],
    )
    monkeypatch.setattr(FiniteCheck, 'read', lambda self: None)  # as on a GPU
    losses = distilled(*batch(), mode='loss')
    assert distilled._finite_check._pending is not None
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    assert features and not any(one() is not None for one in features)


def test_a_diverged_student_is_left_to_the_toolkits_own_checks():
    distilled = build().train()
    with torch.no_grad():
        distilled.student.backbone.stem.weight[0] = float('nan')
    assert torch.isnan(distilled(*batch(), mode='loss')['loss_distill_0'])


def test_a_loss_that_would_log_what_is_added_to_the_loss_is_refused(monkeypatch):
    monkeypatch.setattr(PartialL2Loss, 'log', lambda self, compared: dict(raw_loss=torch.tensor(1.0)))
    model = MODELS.build(distiller_config())
    with pytest.raises(ValueError, match=r"PartialL2Loss\.log names a value 'raw_loss', which mmengine would add"):
        model(*batch(), mode='loss')


def test_the_methods_config_is_left_as_it_is():
    hooks, linear = [dict(type='ovkd_mm.ChannelsLastHook')], dict(loss=dict(loss_weight=1.0))
    method = METHOD | dict(hooks=hooks, pairs=PAIRS, logits=[], without_activation=linear)
    before = copy.deepcopy(method)
    assert build(method=method).hooks[1:] == build(method=method).hooks[1:] == hooks
    assert method == before


def test_what_gives_a_copy_another_dtype_leaves_the_teacher_to_the_original():
    distilled = build()
    copied = copy.deepcopy(distilled).double()
    assert next(copied.student.parameters()).dtype == torch.float64
    assert {weight.dtype for weight in distilled.teacher.parameters()} == {torch.float32}
    distilled.double()
    assert {weight.dtype for weight in distilled.teacher.parameters()} == {torch.float64}


class Gray(MODELS.get('ToyClassifier')):
    """Its images have one channel."""

    def __init__(self, data_preprocessor=None):
        super().__init__()
        self.data_preprocessor = ImgDataPreprocessor(mean=[120], std=[60])
        self.backbone.stem = torch.nn.Conv2d(1, 4, 3, 2, 1)


def test_a_gray_image_is_repeated_for_a_teacher_of_three_channels_even_without_a_mean():
    class Plain(MODELS.get('ToyClassifier')):
        def __init__(self, data_preprocessor=None):
            super().__init__()
            self.data_preprocessor = ImgDataPreprocessor()

    teacher = dict(model=dict(type=Plain, data_preprocessor={}), allow_random=True)
    distilled = build(student=dict(type=Gray), teacher=teacher).train()
    assert distilled(torch.randn(2, 1, 16, 16), torch.tensor([0, 1]), mode='loss')['loss_distill_0'] > 0


def test_a_gray_teacher_is_refused_to_a_student_of_three_channels():
    teacher = dict(model=dict(type=Gray, data_preprocessor={}), allow_random=True)
    with pytest.raises(ValueError, match="the student's images have 3 channels and the teacher's 1: set teacher"):
        build(teacher=teacher)
