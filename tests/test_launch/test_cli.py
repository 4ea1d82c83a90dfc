import argparse
import os

import pytest
import torch
from mmengine._strategy import FSDPStrategy
from mmengine.config import Config

from ovkd_mm.launch import cli
from ovkd_mm.launch.cli import add_config_arguments, add_config_options, at_least, check_device, load_config, use_amp


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Config(dict(model=dict(depth=1), pairs=[dict(weight=1)])).dump('net.py')
    Config(dict(model=dict(depth=1), work_dir='mine')).dump('with_work_dir.py')

    def parse(*flags, config='net.py'):
        parser = argparse.ArgumentParser()
        parser.add_argument('config')
        add_config_arguments(parser)
        return load_config(parser.parse_args([config, *flags]))

    return parse


def test_options_override_the_config(load):
    config = load('--cfg-options', 'model.depth=50', 'pairs.0.weight=0.5')
    assert (config.model.depth, config.pairs[0].weight) == (50, 0.5)


def test_the_work_dir_is_the_flags_then_the_configs_then_the_configs_name(load):
    assert load('--work-dir', 'here').work_dir == 'here'
    assert load('--work-dir', 'here', config='with_work_dir.py').work_dir == 'here'
    assert load(config='with_work_dir.py').work_dir == 'mine'
    assert load().work_dir == 'work_dirs/net'


def test_a_work_dir_that_cannot_be_written_is_named(load, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match=r"work_dir='file/below' cannot be written.*--work-dir"):
        load('--work-dir', 'file/below')


def test_a_missing_config_is_named(load):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.py'):
        load(config='nowhere.py')


def test_mixed_precision_is_a_gpus():
    config = Config(dict(optim_wrapper=dict(type='OptimWrapper', dtype='bfloat16')))
    with pytest.raises(ValueError, match=r'--amp needs a GPU, and this is to run on cpu; leave it out'):
        use_amp(config, 'cpu')
    with pytest.raises(ValueError, match='--amp: the config has no optim_wrapper'):
        use_amp(Config(), 'cuda')
    use_amp(config, 'cuda:1')
    assert config.optim_wrapper == dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale='dynamic')


@pytest.mark.parametrize('kind', ['FSDPStrategy', 'mmengine.FSDPStrategy', FSDPStrategy], ids=str)
def test_mixed_precision_of_shards_scales_them_together(kind):
    config = Config(dict(optim_wrapper=dict(type='OptimWrapper'), strategy=dict(type=kind)))
    use_amp(config, 'cuda')
    assert config.optim_wrapper.use_fsdp is True


def test_a_mistake_names_its_process_where_that_has_a_number(monkeypatch, capsys):
    def refuse(args):
        raise FileNotFoundError(2, 'gone', 'a.py')

    monkeypatch.setattr('sys.argv', ['tool'])
    monkeypatch.setenv('WORLD_SIZE', '2')
    for rank, said in ((None, "error: 'a.py': gone"), ('1', "error (rank 1): 'a.py': gone")):
        monkeypatch.setenv('RANK', rank) if rank else monkeypatch.delenv('RANK', raising=False)
        with pytest.raises(SystemExit):
            cli.run(refuse, argparse.ArgumentParser())
        assert capsys.readouterr().err.strip() == said


def test_a_process_of_mpi_takes_the_gpu_of_its_local_rank(load, monkeypatch):
    monkeypatch.setattr(cli, 'get_device', lambda: 'cuda')
    monkeypatch.setenv('OMPI_COMM_WORLD_LOCAL_RANK', '3')
    monkeypatch.setenv('MASTER_ADDR', 'localhost')
    monkeypatch.setenv('LOCAL_RANK', '')
    monkeypatch.delenv('LOCAL_RANK')
    load('--launcher', 'mpi')
    assert os.environ['LOCAL_RANK'] == '3'


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_several_processes_need_gpus(load, monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, '0')
    monkeypatch.setenv('LOCAL_RANK', '0')
    with pytest.raises(ValueError, match='--launcher pytorch needs GPUs, one a process, and torch finds none here'):
        load('--launcher', 'pytorch')


def test_a_list_without_its_end_is_an_error_of_the_flag(capsys):
    parser = argparse.ArgumentParser()
    add_config_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', 'train_pipeline=[(1,2'])
    assert 'error: argument --cfg-options: train_pipeline=[(1,2: ' in capsys.readouterr().err


@pytest.mark.parametrize('text', ['0', '-1', 'x', '1.5'])
def test_numbers_that_count_something_are_whole_and_from_their_least_up(text):
    assert at_least(1)('3') == 3 and at_least(0)('0') == 0
    with pytest.raises(argparse.ArgumentTypeError, match=f"must be a whole number from 1 up, got '{text}'"):
        at_least(1)(text)


def test_a_device_that_is_not_here_is_named():
    check_device('cpu')
    with pytest.raises(ValueError, match='--device foo: '):
        check_device('foo')


def test_a_static_loss_scale_of_the_config_stays():
    config = Config(dict(optim_wrapper=dict(type='OptimWrapper', loss_scale=512.0)))
    use_amp(config, 'cuda')
    assert config.optim_wrapper.loss_scale == 512.0


def test_torchruns_local_rank_stays(load, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '3')
    load()
    assert os.environ['LOCAL_RANK'] == '3'


def test_mixed_precision_leaves_a_wrapper_of_ones_own_alone():
    config = Config(dict(optim_wrapper=dict(type='ApexOptimWrapper')))
    with pytest.raises(
        ValueError, match=r'--amp puts AmpOptimWrapper in the place of .* the config has ApexOptimWrapper'
    ):
        use_amp(config, 'cuda')
    for kind in ('AmpOptimWrapper', 'mmengine.OptimWrapper', None):
        config = Config(dict(optim_wrapper=dict(type=kind) if kind else dict(clip_grad=None)))
        use_amp(config, 'cuda')
        assert config.optim_wrapper.type == 'AmpOptimWrapper'
