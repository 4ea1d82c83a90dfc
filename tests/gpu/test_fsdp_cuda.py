import pytest
import torch
import two_processes

pytestmark = pytest.mark.cuda


def test_a_training_under_mmengines_fsdp_strategy_resumes_to_the_same_weights(tmp_path):
    (result,) = two_processes.run(two_processes.with_fsdp, tmp_path, count=1, backend='nccl')
    assert 'fc.weight' in result['whole']
    for key, value in result['whole'].items():
        torch.testing.assert_close(result['resumed'][key], value, rtol=1e-4, atol=1e-5, msg=key)
