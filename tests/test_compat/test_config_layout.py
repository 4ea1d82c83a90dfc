import types

import pytest
from mmengine.config import Config, config
from yapf.yapflib import yapf_api

from ovkd_mm.compat import config_layout

OWNER = config if hasattr(config, 'FormatCode') else yapf_api  # of the forks
LAY_OUT = yapf_api.FormatCode


@pytest.fixture
def laid_out(monkeypatch):
    """The texts that yapf was given."""
    texts = []

    def format_code(text, **options):
        texts.append(text)
        return LAY_OUT(text, **options)

    module = types.SimpleNamespace(FormatCode=format_code)
    config_layout.patch(module)
    monkeypatch.setattr(OWNER, 'FormatCode', module.FormatCode)
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
    monkeypatch.setattr(OWNER, 'FormatCode', LAY_OUT)
    assert cfg.pretty_text == ours


def test_where_mmengine_imports_yapf_only_to_lay_out_yapf_itself_is_patched(monkeypatch):
    texts = []
    module = types.SimpleNamespace(FormatCode=lambda text, *args, **options: texts.append(text))
    monkeypatch.setattr(
        config_layout, 'when_imported', lambda name, patch: name == config_layout.YAPF and patch(module)
    )
    config_layout.patch(types.SimpleNamespace())
    for _ in range(2):
        module.FormatCode('a', style_config=dict(based_on_style='pep8'))
    assert texts == ['a']
    for _ in range(2):  # of others, who name a style or a file
        module.FormatCode('b', style_config='pep8')
        module.FormatCode('b', 'b.py')
    assert texts == ['a', *'bbbb']


def test_the_mend_is_in_place():
    assert OWNER.FormatCode.__module__ == config_layout.__name__
