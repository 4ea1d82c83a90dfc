"""Where a mistake is told from a fault; what users get wrong stands in tests/test_tools/test_mistakes.py."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.utils.data import DataLoader

from ovkd_mm.functional import partial_l2
from ovkd_mm.launch.mistakes import mistake


def caught(function, *args, **kwargs) -> Exception:
    with pytest.raises(Exception) as info:
        function(*args, **kwargs)
    return info.value


def test_what_our_code_refuses_is_a_mistake():
    error = caught(partial_l2, torch.ones(1), torch.ones(1), reduction='max')
    assert mistake(error) == "reduction must be 'sum' or 'none', got 'max'"


def test_what_happens_in_our_code_is_a_fault():
    assert mistake(caught(partial_l2, torch.ones(1), 'no tensor')) is None


def test_what_a_toolkit_refuses_while_it_reads_a_config_is_a_mistake(tmp_path):
    (tmp_path / 'a.txt').touch()
    assert 'Only py/yml/yaml/json type are supported' in mistake(caught(Config.fromfile, tmp_path / 'a.txt'))


def test_what_a_toolkit_refuses_elsewhere_is_a_fault():
    from mmengine.utils import check_file_exist, is_seq_of

    assert mistake(caught(is_seq_of, [], int, seq_type='list')) is None
    assert 'file "nowhere" does not exist' in str(caught(check_file_exist, 'nowhere'))


def test_an_error_of_the_system_that_names_a_file_is_a_mistake(tmp_path):
    found = mistake(caught(open, tmp_path / 'nowhere'))
    assert found == f'{str(tmp_path / "nowhere")!r}: No such file or directory'
    assert mistake(caught(int, 'ten')) is None
    assert mistake(caught(json.loads, '{')) is None


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='the system has no /dev/full')
def test_a_full_disk_is_a_mistake_whether_or_not_the_system_names_a_file():
    error = caught(Path('/dev/full').write_text, 'more')
    assert error.filename is None
    assert mistake(error) == 'No space left on device; make room on the disk that is written to'


def test_what_was_never_raised_or_says_nothing_is_a_fault():
    assert mistake(ValueError('never raised')) is None
    assert mistake(KeyboardInterrupt()) is None
    assert mistake(caught(next, iter(()))) is None


class Refusing:
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return partial_l2(torch.ones(1), torch.ones(1), reduction='max')


class Failing(Refusing):
    def __getitem__(self, index):
        raise ValueError('of no code of ours')


def test_what_a_loading_process_raised_counts_as_if_it_had_been_raised_here():
    loader = DataLoader(Refusing(), num_workers=1, multiprocessing_context='fork')
    assert mistake(caught(list, loader)) == "reduction must be 'sum' or 'none', got 'max'"
    assert mistake(caught(list, DataLoader(Failing(), num_workers=1, multiprocessing_context='fork'))) is None
