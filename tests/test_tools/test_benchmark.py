"""``tools/benchmark.py`` on a real config."""

import importlib.util
import json

import pytest
from command_line import ROOT, run_tool

CONFIG = ROOT / 'configs' / 'cifar100' / 'ofd_wrn28-4_resnet56_cifar100.py'


def test_a_config_is_timed_without_data_and_without_a_teacher(tmp_path):
    flags = ['--batch-size', '2', '3', '--rounds', '2', '--channels-last', '--device', 'cpu', '--work-dir', tmp_path]
    printed = run_tool('benchmark', CONFIG, *flags)
    found = json.loads((tmp_path / 'benchmark.json').read_text())
    assert [one['batch_size'] for one in found['runs']] == [2, 3]
    assert all(one['ratio'] > 0.5 for one in found['runs'])
    assert found['runs'][0]['size'] == [32, 32]
    page = (tmp_path / 'benchmark.md').read_text()
    assert page.splitlines()[2] in printed
    assert 'Medians of 2 alternating rounds, channels last' in page


def test_a_step_is_timed_with_fewer_pairs_of_a_config_with_its_preprocessor_beside_the_model(tmp_path):
    config = ROOT / 'configs' / 'small' / 'ofd_wrn16-2_wrn10-1_cifar10-folder-5e.py'
    flags = ['--pairs', '1', '2', '--batch-size', '2', '--rounds', '1', '--device', 'cpu', '--work-dir', tmp_path]
    run_tool('benchmark', config, *flags)
    found = json.loads((tmp_path / 'benchmark.json').read_text())
    assert [one['pairs'] for one in found['runs']] == [1, 2]
    assert '2 images of 32x32, 1 pair<' in (tmp_path / 'benchmark.svg').read_text()


def test_a_plain_config_has_no_parts():
    message = run_tool('benchmark', CONFIG.with_name('resnet56_cifar100.py'), '--device', 'cpu', fails=True)
    assert message.startswith('error: ') and 'is not a distillation' in message


def test_a_peer_that_is_not_here_is_an_error():
    if importlib.util.find_spec('mmrazor'):
        pytest.skip('mmrazor is here')
    message = run_tool('benchmark', CONFIG, '--peer', 'mmrazor', '--device', 'cpu', fails=True)
    assert 'error: --peer mmrazor: mmrazor cannot be imported here' in message


def test_what_was_measured_before_is_not_overwritten_and_data_are_looked_for_first(tmp_path):
    (tmp_path / 'benchmark.md').write_text('mine')
    printed = run_tool('benchmark', CONFIG, '--device', 'cpu', '--work-dir', tmp_path, fails=True)
    assert "benchmark.md' exists and is not overwritten; name another --work-dir" in printed
    where = ['--work-dir', tmp_path / 'new', '--cfg-options', f'train_dataloader.dataset.data_root={tmp_path / "none"}']
    config = ROOT / 'configs' / 'small' / 'ofd_wrn16-2_wrn10-1_cifar10-folder-5e.py'
    printed = run_tool('benchmark', config, '--device', 'cpu', '--rounds', '1', '--data', *where, fails=True)
    assert 'none' in printed
