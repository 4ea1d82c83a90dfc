import types

import pytest
from mmengine.config import Config, config
from yapf.yapflib import yapf_api

from ovkd_mm.compat import config_text


@pytest.fixture
def laid_out(monkeypatch):
    """The texts that yapf was given."""
    texts = []

    def format_code(text, **options):
        texts.append(text)
        return yapf_api.FormatCode(text, **options)

    module = types.SimpleNamespace(FormatCode=format_code)
    config_text.patch(module)
    monkeypatch.setattr(config, 'FormatCode', module.FormatCode)
    return texts


def test_a_config_is_laid_out_once_and_its_copy_not_again(laid_out):
    cfg = Config(dict(model=dict(type='A', sizes=[1, 2, 3])))
    assert cfg.pretty_text == cfg.pretty_text == Config(cfg.to_dict()).pretty_text
    assert len(laid_out) == 1


def test_a_changed_config_is_laid_out_anew(laid_out):
    cfg = Config(dict(model=dict(type='A', sizes=[1, 2, 3])))
    before = cfg.pretty_text
    cfg.model.sizes = [4]
    assert '4' in cfg.pretty_text and cfg.pretty_text != before
    assert len(laid_out) == 2


def test_the_text_is_upstreams(laid_out, monkeypatch):
    cfg = Config(dict(model=dict(type='A' * 60, text='b' * 60, sizes=list(range(40)))))
    ours = cfg.pretty_text
    monkeypatch.setattr(config, 'FormatCode', yapf_api.FormatCode)
    assert cfg.pretty_text == ours


def test_the_mend_is_in_place():
    assert config.FormatCode.__module__ == config_text.__name__
