"""The methods of the paper's table, as their configs name them, on a small classifier."""

import copy
import gc
import weakref
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS
from torch import nn
from toy import HALF_DTYPES, PAIRS, Record, batch, distiller_config, needs_compile, toy_runner

from ovkd_mm.distillers import feature_distiller
from ovkd_mm.functional import attention_map, gram_matrix, marginal_l2, normalized_l1, softened_kl
from ovkd_mm.transforms import Paraphraser

FOLDER = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'methods'
METHODS = ('ofd', 'kd', 'fitnets', 'at', 'fsp', 'jacobian', 'ft', 'ab')
LOGITS = [dict(student='fc', teacher='fc')]


def config_of(name: str, iters: int = 2, **changes) -> dict:
    """A distiller by the method's config, whose stages take ``iters`` iterations."""
    method = Config.fromfile(FOLDER / f'{name}.py').method.to_dict()
    method['hooks'] = [dict(type=hook['type'], iters=iters) for hook in method.get('hooks', [])]
    return distiller_config(**(dict(method=method, logits=LOGITS) | changes))


def build(name: str, **changes) -> nn.Module:
    torch.manual_seed(0)
    model = MODELS.build(config_of(name, **changes)).train()
    for module in model.modules():
        if isinstance(module, Paraphraser):
            module.finish_training()
    return model


def distillation_of(losses: dict) -> list[torch.Tensor]:
    return [value for name, value in losses.items() if name.startswith('loss_distill')]


@pytest.mark.parametrize('name', METHODS)
def test_each_method_trains_in_a_runner_and_its_student_learns_from_it(tmp_path, name):
    def look(runner):
        losses = [runner.message_hub.get_scalar(f'train/{key}').current() for key in ('loss', 'loss_distill_0')]
        return losses, copy.deepcopy(runner.model.state_dict())

    runner = toy_runner(tmp_path, config_of(name), iters=4, custom_hooks=[record := Record(look)])
    start = copy.deepcopy(runner.model.state_dict())
    runner.train()
    assert all(torch.isfinite(torch.tensor(losses)).all() for losses, _ in record.seen)
    first = record.seen[0][1]
    assert record.seen[0][0][1] > 0
    for key in start:
        learns = not key.startswith('distiller.') or 'student_transform' in key
        if key.endswith('conv.weight') or key.endswith('conv1.weight'):
            assert torch.equal(first[key], start[key]) != learns, key


@pytest.mark.parametrize('name', METHODS)
def test_each_method_resumes_in_the_middle_as_if_it_had_never_stopped(tmp_path, name):
    settings = dict(
        iters=4,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)),
    )
    whole = toy_runner(tmp_path / 'whole', config_of(name), **settings)
    whole.train()
    for start in (1, 3):
        resume = dict(load_from=str(tmp_path / 'whole' / f'iter_{start}.pth'), resume=True)
        resumed = toy_runner(tmp_path / str(start), config_of(name), **settings, **resume)
        resumed.train()
        others = resumed.model.state_dict()
        assert all(torch.equal(value, others[key]) for key, value in whole.model.state_dict().items()), start


@pytest.mark.parametrize('name', METHODS)
def test_the_gradient_reaches_student_and_connectors_and_nothing_else(name):
    model = build(name)
    losses = model(*batch(), mode='loss')
    sum(distillation_of(losses)).backward()
    touched = {key for key, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert 'student.backbone.stem.weight' in touched
    connectors = {
        key for key, weight in model.named_parameters() if 'student_transform' in key and key.endswith('conv.weight')
    }
    assert connectors <= touched
    assert bool(connectors) == (name in ('ofd', 'fitnets', 'fsp', 'ab'))
    assert ('student.fc.weight' in touched) == (name == 'kd')
    assert not any('teacher_transform' in key for key in touched)
    assert all(weight.grad is None for weight in model.teacher.parameters())


def stages(backbone: nn.Module, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """Inputs, pre-activation and end of both groups and the end of layer1's first block, by hand."""
    x, found = backbone.stem(inputs), {}
    for index, block in enumerate((*backbone.layer1, *backbone.layer2)):
        if index != 1:
            found[f'in{min(index, 1) + 1}'] = x
        out = block.conv2(block.bn1(block.conv1(x)).relu())
        out = block.bn2(out) + block.downsample(x)
        x = out.relu()
        if index == 0:
            found['mid1'] = x
        else:
            found[f'pre{index}'], found[f'end{index}'] = out, x
    return found | dict(mid2=x)


def expected_losses(name: str, model: nn.Module, inputs: torch.Tensor) -> list[torch.Tensor]:
    """Each pair's loss by the method's formula, on forwards written by hand."""
    student_net = copy.deepcopy(model.student).train()
    teacher_net = copy.deepcopy(model.teacher.model).train(name == 'ofd')
    teacher_net.backbone.dropout.eval()
    for module in teacher_net.modules():
        module.track_running_stats = True
    inputs = inputs.clone().requires_grad_()
    student, teacher = stages(student_net.backbone, inputs), stages(teacher_net.backbone, inputs)
    connect = [copy.deepcopy(pair.student_transform) for pair in model.pairs]
    code = [copy.deepcopy(pair.teacher_transform) for pair in model.pairs]

    def jacobian(feature):
        attention = feature.abs().sum(1).flatten(1)
        (gradient,) = torch.autograd.grad(attention.max(1).values.sum(), inputs, retain_graph=True)
        return gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)

    def mean_square(one, other):
        return (one - other).pow(2).sum() / one.numel()

    if name == 'kd':
        logits = [net.fc(found['end2'].mean((2, 3))) for net, found in ((student_net, student), (teacher_net, teacher))]
        return [softened_kl(*logits, 4.0).mean()]

    def fsp(i):
        ends = zip(connect[i].connectors, ('in', 'end'), strict=True)
        found = gram_matrix(*(connector(student[f'{end}{i + 1}']) for connector, end in ends))
        return mean_square(found, gram_matrix(teacher[f'in{i + 1}'], teacher[f'end{i + 1}']))

    def squared_difference_of_gradients(i):
        return (jacobian(student[f'end{i + 1}']) - jacobian(teacher[f'end{i + 1}'])).pow(2).sum() / len(inputs)

    def ft(i):
        factors = code[i].eval().encoder(teacher[f'end{i + 1}'])
        return normalized_l1(connect[i](student[f'end{i + 1}']), factors).mean()

    by_stage = dict(
        fitnets=lambda i: 100 * mean_square(connect[i](student[f'mid{i + 1}']), teacher[f'mid{i + 1}']),
        at=lambda i: 1000 * mean_square(*(attention_map(found[f'end{i + 1}']) for found in (student, teacher))),
        fsp=lambda i: 50 * fsp(i),
        jacobian=squared_difference_of_gradients,
        ft=lambda i: 500 * ft(i),
        ab=lambda i: 49.152 * marginal_l2(connect[i](student[f'pre{i + 1}']), teacher[f'pre{i + 1}'] > 0, 1.0).mean(),
    )
    return [weight * by_stage[name](index) for index, weight in enumerate((0.5, 1.0))]


@pytest.mark.parametrize('name', METHODS[1:])
def test_losses_equal_the_formula_on_a_hand_written_forward(name):
    model = build(name).double()
    inputs, labels = batch()
    inputs = inputs.double()
    expected = expected_losses(name, model, inputs)
    found = distillation_of(model(inputs, labels, mode='loss'))
    assert all(value > 0 for value in found)
    for value, other in zip(found, expected, strict=True):
        torch.testing.assert_close(value, other.detach(), rtol=1e-9, atol=0)


@pytest.mark.parametrize('name', ['kd', 'at', 'fsp', 'jacobian'])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(name):
    teacher = dict(model=dict(type='ToyClassifier', width=4), allow_random=True, norm_mode='batch')
    model = build(name, teacher=teacher)
    model.student.load_state_dict(model.teacher.model.state_dict())
    losses = distillation_of(model(*batch(), mode='loss'))
    assert all(value < 1e-8 for value in losses)


def test_what_a_student_learns_by_jacobian_matching_is_that_of_finite_differences_of_its_weights():
    model = build('jacobian').double()
    for module in model.student.modules():  # a forward must not change the next one
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    inputs, labels = batch()

    def loss():
        return sum(distillation_of(model(inputs.double(), labels, mode='loss')))

    loss().backward()
    for name in ('backbone.stem.weight', 'backbone.layer1.0.bn1.weight', 'backbone.layer2.0.conv2.weight'):
        weight = model.student.get_parameter(name)
        index = weight.grad.abs().argmax()
        moved = []
        for step in (1e-7, -2e-7):
            weight.data.view(-1)[index] += step
            moved.append(loss().item())
        weight.data.view(-1)[index] += 1e-7
        assert weight.grad.view(-1)[index].item() == pytest.approx((moved[0] - moved[1]) / 2e-7, rel=1e-3), name


def test_what_the_teacher_computed_is_let_go_when_its_gradient_is_known(monkeypatch):
    class Saved:
        def __init__(self, tensor):
            self.tensor = tensor

    kept = []

    def pack(tensor):
        kept.append(weakref.ref(saved := Saved(tensor.detach())))  # else an output would keep its own node
        return saved

    model = build('jacobian')
    forward = model.teacher.forward

    def recording(*args, **kwargs):
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
            return forward(*args, **kwargs)

    monkeypatch.setattr(model.teacher, 'forward', recording)
    losses = model(*batch(), mode='loss')
    gc.collect()
    assert kept and all(reference() is None for reference in kept)
    assert distillation_of(losses)[0].requires_grad


def test_only_a_method_that_differentiates_them_makes_a_graph_from_the_images():
    for name in METHODS:
        seen = []
        model = build(name)
        model.student.backbone.stem.register_forward_pre_hook(lambda module, args, seen=seen: seen.append(args[0]))
        images, labels = batch()
        model(images, labels, mode='loss')
        assert seen[0].requires_grad == (name == 'jacobian')
        assert not images.requires_grad


@pytest.mark.parametrize('name', METHODS)
def test_pairs_that_nobody_named_do_for_each_method(name):
    losses = distillation_of(build(name, pairs='auto')(*batch(), mode='loss'))
    assert len(losses) == (1 if name == 'kd' else 2)
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses)


@pytest.mark.parametrize('name', METHODS)
def test_a_frozen_place_is_an_error_though_the_images_may_have_a_gradient(name):
    model = build(name)
    model.student.requires_grad_(False)
    with pytest.raises(ValueError, match='comes out with no grad'):
        model(*batch(), mode='loss')


def test_with_the_first_layers_frozen_the_others_learn_by_jacobian_matching():
    model = build('jacobian')
    model.student.backbone.stem.requires_grad_(False)
    sum(distillation_of(model(*batch(), mode='loss'))).backward()
    assert model.student.backbone.layer1[0].conv1.weight.grad.any()
    assert model.student.backbone.stem.weight.grad is None


def test_of_the_two_ends_of_a_group_only_the_last_has_to_learn():
    model = build('fsp')
    model.student.backbone.stem.requires_grad_(False)
    distillation_of(model(*batch(), mode='loss'))[0].backward()
    assert model.student.backbone.layer1[0].conv1.weight.grad.any()
    model.student.backbone.layer1.requires_grad_(False)
    with pytest.raises(ValueError, match=r"'backbone\.layer1' comes out with no grad"):
        model(*batch(), mode='loss')


def test_jacobian_matching_without_a_gradient_is_an_error():
    with torch.no_grad(), pytest.raises(ValueError, match=r'without torch\.no_grad'):
        build('jacobian')(*batch(), mode='loss')


@needs_compile
def test_jacobian_matching_trains_the_same_where_the_rest_is_compiled(tmp_path):
    torch._dynamo.reset()
    plain = toy_runner(tmp_path / 'plain', config_of('jacobian'), iters=2)
    plain.train()
    compiled = toy_runner(
        tmp_path / 'compiled', config_of('jacobian'), iters=2, cfg=dict(compile=dict(backend='aot_eager'))
    )
    compiled.train()
    others = compiled.model.state_dict()
    assert all(torch.equal(value, others[key]) for key, value in plain.model.state_dict().items())


@pytest.mark.parametrize('name', METHODS)
@pytest.mark.parametrize('dtype', HALF_DTYPES)
def test_losses_under_autocast_are_near_to_those_in_float32(name, dtype):
    model = build(name)
    expected = distillation_of(model(*batch(), mode='loss'))
    with torch.autocast('cpu', dtype):
        found = distillation_of(build(name)(*batch(), mode='loss'))
    for value, other in zip(found, expected, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, other, rtol=0.15, atol=0)


@pytest.mark.parametrize('name', METHODS)
def test_a_copy_as_ema_makes_it_shares_the_teacher_and_compares_alike(name):
    model = build(name)
    other = copy.deepcopy(model)
    assert other.teacher is model.teacher
    for value, twin in zip(*(distillation_of(one(*batch(), mode='loss')) for one in (model, other)), strict=True):
        torch.testing.assert_close(value, twin)


@pytest.mark.parametrize('name', METHODS)
def test_pictures_are_drawn_of_maps_alone(tmp_path, name):
    hooks = [dict(type='ovkd_mm.FeatureVisualizationHook', interval=1)]
    toy_runner(tmp_path, config_of(name, iters=1), iters=1, custom_hooks=hooks).train()
    found = list(tmp_path.glob('*/vis_data/vis_image/*.png'))
    assert len(found) == (0 if name in ('kd', 'fsp') else 2)


def test_the_class_scores_that_both_models_return_are_found():
    found = build('kd', logits='auto')
    assert (found.pairs[0].student_place.name, found.pairs[0].teacher_place.name) == ('fc', 'fc')
    given = build('kd')
    for one, other in zip(*(distillation_of(model(*batch(), mode='loss')) for model in (found, given)), strict=True):
        torch.testing.assert_close(one, other)
    config = config_of('kd')
    with pytest.raises(ValueError, match=r"logits\[0\].student: place 'head' does not exist.*scores come out of 'fc'"):
        MODELS.build(config | dict(logits=[dict(student='head', teacher='fc')]))
    with pytest.raises(ValueError, match="logits must be 'auto' or a list of dicts, got 'fc'"):
        MODELS.build(config | dict(logits='fc'))


def test_a_pair_says_how_many_classes_an_anchor_has():
    def distilled(classes):
        model = MODELS.build(config_of('kd') | dict(logits=[LOGITS[0] | dict(classes=classes)])).train()
        return distillation_of(model(*batch(), mode='loss'))

    assert distilled(3)[0] > 0
    with pytest.raises(ValueError, match='logits of one class are no distribution'):
        distilled(1)


def test_what_differs_in_shape_after_the_transforms_is_an_error():
    method = config_of('fitnets')['method'] | dict(student_transform=dict(type='ovkd_mm.Identity'))
    with pytest.raises(ValueError, match=r"of the student place 'backbone.layer1' and \(4, 6, 8, 8\) of the teacher"):
        MODELS.build(distiller_config(method=method)).train()(*batch(), mode='loss')


def test_a_place_with_a_position_of_its_own_gives_its_path_to_the_ends_of_a_group():
    alone = dict(student=dict(type='ovkd_mm.ModuleOutput', path='backbone.layer1'), teacher='backbone.layer1')
    pair = build('fsp', pairs=[alone]).pairs[0]
    assert pair.student_place == build('fsp', pairs=PAIRS[:1]).pairs[0].student_place


def test_the_weights_of_task_and_distillation_weigh_what_they_name():
    model = build('at')
    losses = model(*batch(), mode='loss')
    model.task_weight, model.distill_weight = 0.25, 3.0
    weighted = model(*batch(), mode='loss')
    torch.testing.assert_close(weighted['loss'], 0.25 * losses['loss'])
    torch.testing.assert_close(weighted['loss_distill_0'], 3 * losses['loss_distill_0'])


@pytest.mark.parametrize('name', METHODS)
def test_without_distillation_each_pair_has_a_loss_of_zero_and_its_weights_a_gradient_of_zero(name):
    model = build(name)
    model.distill_weight = 0.0
    model.teacher.forward = lambda *args, **kwargs: pytest.fail('the teacher ran')
    losses = model(*batch(), mode='loss')
    found = distillation_of(losses)
    assert found and all(isinstance(loss, torch.Tensor) and loss == 0 and loss.dim() == 0 for loss in found)
    model.parse_losses(losses)[0].backward()
    learned = [weight for weight in model.pairs.parameters() if weight.requires_grad]
    assert all(weight.grad is not None and not weight.grad.any() for weight in learned)  # for which DDP waits


def test_matching_gradients_through_a_sync_bn_of_several_processes_is_refused(monkeypatch):
    model = build('jacobian')
    model.student = nn.SyncBatchNorm.convert_sync_batchnorm(model.student)
    model(*batch(), mode='loss')  # of one process it is a batch norm
    monkeypatch.setattr(feature_distiller, 'get_world_size', lambda: 2)
    with pytest.raises(ValueError, match=r"SyncBN.*differentiate twice.*norm_cfg=dict\(type='BN'\)"):
        model(*batch(), mode='loss')
    model.student = revert_sync_batchnorm(model.student)
    model(*batch(), mode='loss')
