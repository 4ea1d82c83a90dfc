import pytest
import torch
import two_processes
from mmengine.registry import MODELS
from toy import NEW_TORCH, distiller_config

pytestmark = pytest.mark.skipif(not NEW_TORCH, reason='FSDP on a CPU needs torch 2.4')


@pytest.fixture(scope='module')
def result(tmp_path_factory):
    return two_processes.run(two_processes.with_fsdp_on_cpu, tmp_path_factory.mktemp('two_processes'))[0]


def test_a_sharded_training_saves_and_loads_the_checkpoint_of_one_under_ddp(result):
    saved, again = result['fsdp']['saved'], result['fsdp']['again']
    assert saved.keys() == result['ddp'].keys()
    for key, value in result['ddp'].items():
        torch.testing.assert_close(saved[key], value, rtol=1e-4, atol=1e-6, msg=key)
        assert torch.equal(again[key], saved[key] + 1), key


def test_a_sharded_training_in_mixed_precision_comes_near_that_in_float32(result):
    for key, value in result['ddp'].items():
        torch.testing.assert_close(result['half']['saved'][key], value, rtol=0.05, atol=0.05, msg=key)


def test_a_training_under_mmengines_fsdp_strategy_saves_stock_keys_and_resumes_bit_for_bit(result):
    whole, resumed = result['flexible']['whole'], result['flexible']['resumed']
    start = MODELS.build(distiller_config()).state_dict()
    assert list(whole) == list(start)
    for key, value in whole.items():
        assert torch.equal(resumed[key], value), key
    assert not torch.equal(whole['fc.weight'], start['fc.weight'])
