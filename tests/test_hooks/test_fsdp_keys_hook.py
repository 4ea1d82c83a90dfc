import pytest
import torch
import two_processes


@pytest.mark.skipif(torch.__version__ < (2, 4), reason='FSDP runs on a CPU since torch 2.4')
def test_a_sharded_training_saves_and_loads_the_checkpoint_of_one_under_ddp(tmp_path):
    result, _ = two_processes.run(two_processes.with_fsdp, tmp_path)
    saved, again = result['fsdp']['saved'], result['fsdp']['again']
    assert saved.keys() == result['ddp'].keys()
    for key, value in result['ddp'].items():
        torch.testing.assert_close(saved[key], value, rtol=1e-4, atol=1e-6, msg=key)
        assert torch.equal(again[key], saved[key] + 1), key
