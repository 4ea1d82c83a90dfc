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


def test_a_training_step_does_not_wait_for_the_gpu():
    distilled = MODELS.build(distiller_config()).train().cuda()
    inputs, labels = (tensor.cuda() for tensor in batch())
    distilled(inputs, labels, mode='loss')
    torch.cuda.set_sync_debug_mode('error')
    try:
        for _ in range(2):
            sum(value for key, value in distilled(inputs, labels, mode='loss').items() if 'loss' in key).backward()
    finally:
        torch.cuda.set_sync_debug_mode('default')


def test_a_teacher_feature_that_is_not_finite_is_named_by_the_next_forward():
    distilled = MODELS.build(distiller_config()).train().cuda()
    with torch.no_grad():
        distilled.teacher.model.backbone.layer2[0].bn2.weight[0] = float('nan')
    inputs, labels = (tensor.cuda() for tensor in batch())
    distilled(inputs, labels, mode='loss')
    with pytest.raises(ValueError, match=r'teacher feature at backbone\.layer2.*NaN'):
        distilled(inputs, labels, mode='predict')
