import copy
import json
import math

import pytest
import torch
import two_processes
from mmengine.registry import MODELS
from torch._dynamo.utils import counters
from toy import METHOD, PAIRS, Record, batch, distiller_config, needs_compile, toy_runner

from ovkd_mm.distillers import auto_weight as module
from ovkd_mm.distillers import feature_pair
from ovkd_mm.distillers.auto_weight import AutoWeight, auto_weight


def method(weight='auto'):
    return METHOD | dict(loss=dict(type='ovkd_mm.PartialL2Loss', loss_weight=weight))


def build(weight='auto', **changes):
    torch.manual_seed(0)
    model = MODELS.build(distiller_config(method=method(weight)) | changes).train()
    model.init_weights()
    return model


def shares(model, groups, size=4, pixels=16):
    """How large the gradients of some pairs together are beside the task's, by backward passes of their own."""
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(size, 3, pixels, pixels, generator=generator)
    losses = model(inputs, torch.arange(size) % 3, mode='loss')
    parts = [losses['loss'], *(sum(losses[f'loss_distill_{i}'] for i in group) for group in groups)]
    gradients = []
    for part in parts:
        model.zero_grad()
        part.backward(retain_graph=True)
        gradients.append({name: weight.grad for name, weight in model.student.backbone.named_parameters()})
    task, *others = gradients
    norms = []
    for found in others:
        both = [name for name in task if task[name] is not None and found[name] is not None]
        norms.append([math.sqrt(sum(one[name].square().sum().item() for name in both)) for one in (task, found)])
    return [other / norm for norm, other in norms]


class TestASetting:
    def test_says_whether_the_weight_is_measured_and_for_which_share(self):
        assert auto_weight('loss_weight', 1e-3) is None and auto_weight('loss_weight', 2) is None
        assert auto_weight('loss_weight', 'auto').share == module.SHARE
        assert auto_weight('loss_weight', dict(share=0.25)).share == 0.25

    @pytest.mark.parametrize(
        ('setting', 'message'),
        [
            ('big', r"method\.loss\.loss_weight must be a number, 'auto' or dict\(share=\.\.\.\); got 'big'"),
            (None, r'method\.loss\.loss_weight must be a number'),
            (dict(shares=1), r"method\.loss\.loss_weight has no setting 'shares'.*share"),
            (dict(share=-1), r'method\.loss\.loss_weight\.share must be a number above 0, got -1'),
            (dict(share='half'), r"method\.loss\.loss_weight\.share must be a number above 0, got 'half'"),
        ],
    )
    def test_that_means_nothing_is_named(self, setting, message):
        with pytest.raises(ValueError, match=message):
            build(setting)

    def test_of_one_pair_is_named_with_it(self):
        loss = dict(type='ovkd_mm.PartialL2Loss', loss_weight='big')
        with pytest.raises(ValueError, match=r'pairs\[1\]\.loss\.loss_weight must be a number'):
            build(1e-3, pairs=[PAIRS[0], PAIRS[1] | dict(loss=loss)])


@pytest.mark.parametrize('weight', ['auto', dict(share=0.5)])
@pytest.mark.parametrize('changes', [{}, dict(pixels=32), dict(size=8)])
@pytest.mark.parametrize('width', [6, 12])
def test_the_gradient_is_the_set_multiple_of_the_tasks_whatever_the_sizes(weight, changes, width):
    teacher = dict(model=dict(type='ToyClassifier', width=width), allow_random=True)
    want = module.SHARE if weight == 'auto' else 0.5
    assert shares(build(weight, teacher=teacher), [(0, 1)], **changes) == pytest.approx([want], rel=1e-4)


def test_pairs_of_one_setting_keep_their_weights_beside_each_other():
    auto, fixed = build(), build(1.0)
    found, unit = (model(*batch(), mode='loss') for model in (auto, fixed))
    for index in (0, 1):
        torch.testing.assert_close(
            found[f'loss_distill_{index}'], unit[f'loss_distill_{index}'] * found['distill_auto_weight_0'].float()
        )
    assert 'distill_auto_weight_1' not in found


def test_a_pair_with_a_loss_of_its_own_and_each_of_several_methods_have_their_own_weight():
    own = PAIRS[1] | dict(loss=dict(type='ovkd_mm.PartialL2Loss', loss_weight=dict(share=3)))
    assert shares(build(pairs=[PAIRS[0], own]), [(0,), (1,)]) == pytest.approx([module.SHARE, 3], rel=1e-4)
    both = build(method=[method(), method(dict(share=2.0))])
    assert shares(both, [(0, 1), (2, 3)]) == pytest.approx([module.SHARE, 2], rel=1e-4)


def test_what_weighs_nothing_is_not_measured():
    model = build(pairs=[pair | dict(weight=0.0) for pair in PAIRS])
    assert not any('auto' in name for name in model(*batch(), mode='loss'))


def test_it_follows_the_mean_of_the_last_measurements_and_then_stays(monkeypatch):
    said = []
    monkeypatch.setattr(module, 'print_log', lambda message, **_: said.append(message))
    monkeypatch.setattr(module, 'SETTLED', 30)
    weight = AutoWeight(2.0)
    assert weight.factor == 1
    for ratio, factor in ((4.0, 0.5), (16.0, 0.25), (math.inf, 0.25), (math.nan, 0.25), (0.0, 0.25)):
        weight.note(ratio)
        assert weight.factor == pytest.approx(factor)
    for _ in range(100):
        weight.note(8.0)
    assert weight.factor == pytest.approx(0.25, rel=1e-3)
    for learns in (False,) * 50 + (True,) * 29:
        weight.step(learns)
    assert not weight.settled and len(said) == 1
    weight.step(True)
    assert weight.settled and said[1:] == [
        "loss_weight='auto' is 0.25 from here on: the gradient of these losses was 2 times the task's with it, "
        'measured 102 times in 80 iterations'
    ]
    weight.note(79.0)
    assert weight.factor == pytest.approx(0.25, rel=1e-3) and len(said) == 2
    weight.note(84.0)
    assert weight.factor == pytest.approx(0.25, rel=1e-3) and 'is now 21 times' in said[2] and 'dict(share=' in said[2]


def test_a_small_weight_is_told_in_the_text_log_when_it_is_first_measured_and_in_full_in_the_scalars(tmp_path):
    """mmengine's text log has four decimals."""
    config = distiller_config(method=method(dict(share=1e-5)))
    default_hooks = dict(logger=dict(type='LoggerHook', interval=1))
    runner = toy_runner(tmp_path, config, iters=2, default_hooks=default_hooks)
    runner.train()
    (text,) = tmp_path.glob('*/*.log')
    (scalars,) = tmp_path.glob('*/vis_data/scalars.json')
    first, second = [json.loads(line)['distill_auto_weight_0'] for line in scalars.read_text().splitlines()]
    assert 0 < first < 5e-5 and first != second
    assert 'distill_auto_weight_0: 0.0000' in text.read_text()
    assert text.read_text().count(f"loss_weight='auto' is {first:.4g} by the first measurement") == 1


def test_it_measures_often_at_first_then_at_times_then_rarely():
    weight, measured = AutoWeight(), []
    for iteration in range(2100):
        if weight.due():
            measured.append(iteration)
            weight.note(1.0)
        weight.step(True)
    assert measured == [*range(20), *range(20, 500, 10), 1000, 2000]


def test_it_is_saved_and_resumed_bit_for_bit(tmp_path):
    def train(name, iters, **changes):
        record = Record(lambda runner: runner.message_hub.get_scalar('train/distill_auto_weight_0').current())
        runner = toy_runner(
            tmp_path / name,
            distiller_config(method=method()),
            epochs=iters // 2,
            custom_hooks=[record],
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
            **changes,
        )
        runner.train()
        return runner.model.state_dict(), record.seen

    whole, weights = train('whole', 6)
    half = str(tmp_path / 'whole' / 'epoch_2.pth')
    resumed, rest = train('resumed', 6, load_from=half, resume=True)
    assert len(set(weights)) == 6 and rest == weights[4:]
    assert whole.keys() == resumed.keys() and 'distiller.pairs.0.auto_weight.state' in whole
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_while_the_connectors_learn_alone_it_is_measured_all_the_same(tmp_path):
    def look(runner):
        return [float(runner.message_hub.get_scalar(f'train/{k}').current()) for k in ('distill_auto_weight_0', 'loss')]

    runs = {}
    for name, hooks in dict(plain=[], warm=[dict(type='ovkd_mm.ConnectorWarmupHook', iters=3)]).items():
        record = Record(look)
        runner = toy_runner(tmp_path / name, distiller_config(method=method()), iters=4, custom_hooks=[record, *hooks])
        runner.train()
        runs[name] = record.seen, runner.model.pairs[0].auto_weight.state.tolist()
    assert runs['plain'][0][0] == runs['warm'][0][0]
    assert [state[2:] for _, state in runs.values()] == [[4, 4], [4, 1]]


@needs_compile
def test_a_compiled_student_is_measured_too_and_not_compiled_anew_for_each_weight(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'AT_FIRST', 1)
    monkeypatch.setattr(module, 'SPACING', 2)
    torch._dynamo.reset()
    runs, graphs = [], []
    for cfg in ({}, dict(compile=dict(backend='aot_eager'))):
        counters.clear()
        record = Record(lambda runner: (runner.model.pairs[0].auto_weight.factor, counters['stats']['unique_graphs']))
        runner = toy_runner(tmp_path, distiller_config(method=method()), iters=12, cfg=cfg, custom_hooks=[record])
        runner.train()
        factors, graphs = zip(*record.seen, strict=True)
        runs.append(factors)
    assert runs[1] == pytest.approx(runs[0], rel=1e-2) and len(set(runs[1])) >= 6
    assert graphs[6] == graphs[-1] > 0


def test_activation_checkpointing_changes_nothing_of_it(tmp_path):
    runs = []
    for cfg in ({}, dict(activation_checkpointing=['backbone.layer1'])):
        runner = toy_runner(tmp_path, distiller_config(method=method()), iters=2, cfg=cfg)
        runner.train()
        runs.append(runner.model.pairs[0].auto_weight.factor)
    assert runs[1] == pytest.approx(runs[0], rel=1e-5)


def test_measuring_leaves_gradients_and_statistics_to_the_step_itself():
    model = build()
    alone = copy.deepcopy(model)
    for auto in alone.pairs.auto_weights:
        auto.due = lambda: False
    state = model.student.state_dict()
    losses = model(*batch(), mode='loss')
    assert all(weight.grad is None for weight in model.parameters())
    alone(*batch(), mode='loss')
    assert all(torch.equal(value, alone.student.state_dict()[key]) for key, value in model.student.state_dict().items())
    assert state.keys() == model.student.state_dict().keys() and losses['loss'].requires_grad


def test_two_processes_have_one_weight(tmp_path):
    first, second = two_processes.run(two_processes.with_auto_weight, tmp_path)
    assert first['factors'] == second['factors'] and first['alone'] != second['alone']
    assert first['factors'][0] == pytest.approx(math.sqrt(first['alone'] * second['alone']), rel=1e-5)


@pytest.mark.parametrize('changes', [dict(method=method()), dict(method='jacobian')], ids=['measured', 'jacobian'])
def test_a_student_that_is_recomputed_in_the_toolkits_way_is_refused_with_the_way_that_works(changes):
    model = MODELS.build(distiller_config(**changes)).train()
    model.student.backbone.layer1[0].with_cp = True
    with pytest.raises(
        ValueError, match=r"with_cp=True .backbone.layer1.0.*activation_checkpointing=\['backbone.layer1.0'"
    ):
        model(*batch(), mode='loss')
    fixed = build(1e-3)
    fixed.student.backbone.layer1[0].with_cp = True
    fixed(*batch(), mode='loss')


def test_a_batch_measured_again_has_the_weight_and_the_losses_that_it_had():
    model = build()
    first, *others = [(model(*batch(), mode='loss'), model.pairs[0].auto_weight.factor) for _ in range(3)]
    for losses, factor in others:
        assert factor == pytest.approx(first[1], rel=1e-4)
        torch.testing.assert_close(losses['loss_distill_0'], first[0]['loss_distill_0'])


def test_what_could_not_be_measured_yet_weighs_nothing(monkeypatch):
    monkeypatch.setattr(feature_pair, 'gradient_ratios', lambda task, sums, weights: [math.nan] * len(sums))
    model = build()
    assert model(*batch(), mode='loss')['loss_distill_0'] == 0
    for _ in range(module.SETTLED + 1):  # from here on only every tenth iteration would be measured
        model.pairs[0].auto_weight.step(True)
    assert model(*batch(), mode='loss')['loss_distill_0'] == 0


def test_what_a_checkpoint_counted_is_forgotten_in_another_training_even_if_nothing_was_measured():
    weight = AutoWeight()
    for _ in range(module.SETTLED + 1):
        weight.step(True)
    weight.restart()
    assert weight.state.tolist() == [0.0] * 4


def test_its_state_is_what_all_devices_have_and_the_same_after_saving():
    weight, loaded = AutoWeight(), AutoWeight()
    weight.note(1 / 3)
    loaded.load_state_dict(weight.state_dict())
    assert weight.state.dtype == torch.float32  # Apple's GPUs have no float64
    assert loaded.factor == weight.factor


@pytest.mark.parametrize('without', ['gradients', 'distillation'])
def test_iterations_without_gradients_or_distillation_are_not_counted(without):
    model = build()
    model.distill_weight = float(without == 'gradients')
    with torch.set_grad_enabled(without == 'distillation'):
        model(*batch(), mode='loss')
    assert model.pairs[0].auto_weight.state.tolist() == [0] * 4


def test_a_model_that_was_used_takes_the_weight_that_it_loads():
    trained, used = build(), build()
    trained(*batch(), mode='loss')
    used(*batch(seed=5), mode='loss')
    assert used.pairs[0].auto_weight.factor != trained.pairs[0].auto_weight.factor
    used.load_state_dict(trained.state_dict())
    assert used.pairs[0].auto_weight.factor == trained.pairs[0].auto_weight.factor


def test_old_measurements_are_forgotten():
    weight = AutoWeight(1.0)
    for ratio in [100.0] * 20 + [1.0] * 80:
        weight.note(ratio)
    assert weight.factor == pytest.approx(1, rel=1e-2)


def test_it_does_not_settle_before_it_was_measured_and_says_so(monkeypatch):
    said = []
    monkeypatch.setattr(module, 'print_log', lambda message, **_: said.append(message))
    weight = AutoWeight(1.0)
    for _ in range(module.SETTLED + 100):
        weight.note(math.nan)
        weight.step(True)
    assert not weight.settled and len(said) == 1 and 'could be measured in 0 of 500 iterations' in said[0]
    measured = []
    for iteration in range(1000):
        if weight.due():
            weight.note(4.0)
            measured.append(iteration)
        weight.step(True)
    assert weight.settled and weight.factor == pytest.approx(0.25)
    assert measured[:20] == list(range(0, 200, 10)) and len(measured) < 25
    assert len(said) == 3 and 'is 0.25 by the first' in said[1] and 'is 0.25 from here on' in said[2]


@pytest.fixture
def said(monkeypatch):
    found = []
    monkeypatch.setattr(module, 'print_log', lambda message, *_, **__: found.append(message))
    return found


def test_a_gradient_that_has_become_too_small_is_spoken_of_too(said, monkeypatch):
    monkeypatch.setattr(module, 'SETTLED', module.AT_FIRST)
    weight = AutoWeight(2.0)
    for _ in range(module.AT_FIRST):
        weight.note(2.0)
        weight.step(True)
    assert weight.settled and said
    said.clear()
    weight.note(0.21)
    assert not said
    weight.note(0.19)
    assert 'is now 0.19 times' in said[0]


def test_that_it_cannot_be_measured_is_said_once_though_the_connectors_learn_alone_for_a_while(said):
    weight = AutoWeight()
    for learns in (True,) * (module.SETTLED - 1) + (False,) * 3:
        weight.step(learns)
    assert not said
    weight.step(True)
    assert len(said) == 1


def test_what_is_recomputed_but_not_trained_is_no_obstacle():
    model = build()
    block = model.student.backbone.layer1[0].requires_grad_(False)
    block.with_cp = True
    assert model(*batch(), mode='loss')['loss_distill_0'] > 0


def test_a_measurement_that_fails_is_over():
    model = build()
    model.student.fc.register_forward_hook(lambda module, args, out: out.detach())
    with pytest.raises(RuntimeError, match='does not require grad'):
        model(*batch(), mode='loss')
    assert not model.measuring
