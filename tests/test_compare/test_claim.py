import fcntl
import json
import os
from pathlib import Path

import pytest
from command_line import modified

from ovkd_mm.compare.claim import claimed


def claim(folder: Path, **recipe) -> None:
    with claimed(folder, recipe):
        pass


def test_a_new_folder_is_made_and_found_again(tmp_path):
    claim(tmp_path / 'a/b', seed=5)
    assert json.loads((tmp_path / 'a/b/study.json').read_text()) == dict(seed=5)
    before = modified(tmp_path)
    claim(tmp_path / 'a/b', seed=5)
    assert modified(tmp_path) == before


def test_a_folder_with_other_things_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / 'thesis.tex').touch()
    with pytest.raises(ValueError, match='holds something else than a study; name another with --work-dir'):
        claim(tmp_path, seed=5)
    assert os.listdir(tmp_path) == ['thesis.tex']


def test_another_recipes_folder_is_refused_with_what_differs(tmp_path):
    claim(tmp_path, config='a.py', seed=5)
    (tmp_path / 'run').mkdir()
    before = modified(tmp_path)
    with pytest.raises(ValueError, match=r'holds a study with seed=5, not with seed=6; name another with --work-dir'):
        claim(tmp_path, config='a.py', seed=6)
    assert modified(tmp_path) == before


def test_a_folder_in_which_nothing_was_done_may_be_claimed_for_another_recipe(tmp_path):
    claim(tmp_path, seed=5)
    claim(tmp_path, seed=6)
    assert json.loads((tmp_path / 'study.json').read_text()) == dict(seed=6)


def test_a_kill_while_the_folder_is_claimed_claims_nothing(tmp_path, monkeypatch):
    def kill(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'replace', kill)
    with pytest.raises(KeyboardInterrupt):
        claim(tmp_path, seed=5)
    assert not (tmp_path / 'study.json').exists()
    monkeypatch.undo()
    claim(tmp_path, seed=5)
    assert json.loads((tmp_path / 'study.json').read_text()) == dict(seed=5)
    assert sorted(os.listdir(tmp_path)) == ['study.json', 'study.lock']


def test_a_claim_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / 'study.json').write_text('{"data": nu')
    with pytest.raises(ValueError, match=r'study\.json cannot be read'):
        claim(tmp_path, seed=5)
    assert (tmp_path / 'study.json').read_text() == '{"data": nu'


def test_the_folder_is_ours_alone_until_we_and_our_children_have_let_go(tmp_path):
    with claimed(tmp_path, dict(seed=5)) as lock:
        childs = os.dup(lock)
        with pytest.raises(ValueError, match='another call, or a training that it left behind, is at work here'):
            claim(tmp_path, seed=5)
    with pytest.raises(ValueError, match='another call'):
        claim(tmp_path, seed=5)
    os.close(childs)
    with (tmp_path / 'study.lock').open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
