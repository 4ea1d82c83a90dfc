import pytest
import torch
from mmengine.registry import MODELS
from toy import batch, distiller_config

pytestmark = pytest.mark.cuda


def test_the_teacher_follows_to_the_gpu_and_losses_equal_the_cpus():
    distilled = MODELS.build(distiller_config()).train()
    inputs, labels = batch()
    on_cpu = distilled(inputs, labels, mode='loss')
    distilled.cuda()
    assert {parameter.device.type for parameter in distilled.teacher.parameters()} == {'cuda'}
    on_gpu = distilled(inputs.cuda(), labels.cuda(), mode='loss')
    for key, value in on_cpu.items():
        torch.testing.assert_close(on_gpu[key].cpu(), value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_losses_are_float32_and_finite_under_autocast(dtype):
    distilled = MODELS.build(distiller_config()).train().cuda()
    inputs, labels = batch()
    with torch.autocast('cuda', dtype):
        losses = distilled(inputs.cuda(), labels.cuda(), mode='loss')
    assert losses['loss_distill_0'].dtype == torch.float32
    assert all(torch.isfinite(value) for value in losses.values())


def test_a_trace_on_the_gpu_leaves_its_generator_as_found():
    from ovkd_mm.positions import trace

    model = MODELS.build(dict(type='ToyClassifier')).cuda()
    state = torch.cuda.get_rng_state()
    trace(model, (16, 16))
    assert torch.equal(torch.cuda.get_rng_state(), state)
