"""What users switch on in mmengine's Runner, on a small model."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn
from torch._dynamo.utils import counters
from toy import HALF_DTYPES, Record, distiller_config, needs_compile, toy_runner

SGD = dict(type='SGD', lr=0.1, momentum=0.9)


def train(work_dir, model=None, **settings):
    """Train four iterations; return the runner and the losses of each."""
    keys = ('loss', 'loss_distill_0', 'loss_distill_1')
    record = Record(lambda runner: [runner.message_hub.get_scalar(f'train/{key}').current() for key in keys])
    runner = toy_runner(work_dir, model, iters=4, custom_hooks=[record, *settings.pop('hooks', [])], **settings)
    runner.train()
    return runner, record.seen


def assert_same_weights(first, second):
    others = dict(second.model.named_parameters())
    for name, weight in first.model.named_parameters():
        assert torch.equal(weight, others[name]), name


@needs_compile
def test_compiling_compiles_the_student_and_the_pairs_and_changes_nothing(tmp_path):
    torch._dynamo.reset()
    counters.clear()
    plain, expected = train(tmp_path / 'plain')
    compiled, losses = train(tmp_path / 'compiled', cfg=dict(compile=dict(backend='aot_eager')))
    assert counters['stats']['unique_graphs'] >= 3
    assert losses == [pytest.approx(row, rel=1e-5) for row in expected]
    for weight, other in zip(plain.model.parameters(), compiled.model.parameters(), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-4, atol=1e-6)


@needs_compile
def test_compiling_captures_the_whole_student_in_one_graph_with_its_taps(tmp_path):
    torch._dynamo.reset()
    graphs = []

    @torch._dynamo.register_backend(name='recording')
    def record(graph, inputs):
        graphs.append([node.target for node in graph.graph.nodes if node.op == 'call_function'])
        return graph

    train(tmp_path, cfg=dict(compile=dict(backend='recording')))
    convolutions = [sum('conv2d' in str(target) for target in graph) for graph in graphs]
    assert 10 in convolutions  # the stem and three blocks of three
    assert convolutions.count(10) == 1


@pytest.mark.parametrize('inplace', [True, False])
def test_activation_checkpointing_of_what_holds_a_tap_changes_no_weight(tmp_path, inplace):
    model = distiller_config(student=dict(type='ToyClassifier', inplace=inplace))
    plain, expected = train(tmp_path / 'plain', model)
    checkpointed, losses = train(tmp_path / 'cp', model, cfg=dict(activation_checkpointing=['backbone.layer1']))
    assert losses == expected
    assert_same_weights(plain, checkpointed)


def test_gradients_are_accumulated(tmp_path):
    wrapper = dict(type='OptimWrapper', optimizer=SGD, accumulative_counts=2)
    record = Record(lambda runner: runner.model.pairs[0].student_transform.conv.weight.detach().clone())
    train(tmp_path, optim_wrapper=wrapper, hooks=[record])
    first, second, third, fourth = record.seen
    assert torch.equal(second, third)
    assert not torch.equal(first, second) and not torch.equal(third, fourth)


def test_ema_averages_one_student_saves_no_teacher_and_validates_with_the_average(tmp_path):
    default_hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4))
    runner, _ = train(tmp_path, hooks=[hook := dict(type='EMAHook', momentum=0.5)], default_hooks=default_hooks)
    (hook,) = (hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook')
    average = hook.ema_model.module
    assert average.teacher is runner.model.teacher
    saved = torch.load(tmp_path / 'iter_4.pth', weights_only=False)
    students = {key for key in saved['state_dict'] if not key.startswith('distiller.')}
    assert students == set(MODELS.build(dict(type='ToyClassifier')).state_dict())
    assert saved['ema_state_dict'].keys() == {'steps', *(f'module.{key}' for key in saved['state_dict'])}
    # The file's student is the average; what was trained lies under ema_state_dict.
    assert torch.equal(saved['state_dict']['fc.weight'], average.state_dict()['fc.weight'])
    assert torch.equal(saved['ema_state_dict']['module.fc.weight'], runner.model.state_dict()['fc.weight'])
    assert not torch.equal(saved['state_dict']['fc.weight'], saved['ema_state_dict']['module.fc.weight'])


def test_an_ema_training_resumes(tmp_path):
    default_hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2))
    ema = dict(type='EMAHook', momentum=0.5)
    whole, _ = train(tmp_path / 'whole', hooks=[ema], default_hooks=default_hooks)
    resumed, _ = train(tmp_path / 'resumed', hooks=[ema], load_from=str(tmp_path / 'whole' / 'iter_2.pth'), resume=True)
    assert_same_weights(whole, resumed)


def test_a_sync_bn_student_on_a_cpu_is_reverted_as_upstream_does_and_trains_the_same(tmp_path):
    torch.manual_seed(0)
    model = MODELS.build(distiller_config())
    model.student = nn.SyncBatchNorm.convert_sync_batchnorm(model.student)
    reverted, losses = train(tmp_path / 'sync', model)
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in reverted.model.modules())
    torch.manual_seed(0)
    plain, expected = train(tmp_path / 'plain', MODELS.build(distiller_config()))
    assert losses == expected
    assert_same_weights(plain, reverted)


@pytest.mark.parametrize('dtype', HALF_DTYPES)
def test_training_under_autocast_is_near_to_float32(tmp_path, dtype):
    class Autocast(Record):
        """mmengine's AmpOptimWrapper wants a GPU; this is its context on a CPU."""

        priority = 'VERY_HIGH'

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            self.context = torch.autocast('cpu', dtype)
            self.context.__enter__()

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            self.context.__exit__(None, None, None)
            self.seen.append(outputs)

    _, expected = train(tmp_path / 'plain')
    _, losses = train(tmp_path / 'amp', hooks=[hook := Autocast(None)])
    assert all(outputs['loss_distill_0'].dtype == torch.float32 for outputs in hook.seen)
    for row, others in zip(losses, expected, strict=True):
        assert row == pytest.approx(others, rel=0.1)
