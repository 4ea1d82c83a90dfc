import logging
import os
import sys
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import torch
import toy
from command_line import ROOT
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmengine.registry import MODELS
from mmengine.runner import CheckpointLoader, FlexibleRunner, Runner

from ovkd_mm.checkpoints import config_text
from ovkd_mm.checkpoints.config_text import keep_literals
from ovkd_mm.checkpoints.loading import load_checkpoint_file

PLACES = pytest.mark.parametrize('place', ['meta.config', 'meta.cfg', 'message_hub.runtime_info.cfg'])


EVIL = 'evil_module_of_a_test'


def hostile(made: Path) -> list[str]:
    """Texts that make a file when upstream reads them, and one that would import or fill in code."""
    call = f'__import__("os").mkdir({str(made)!r})'
    evil = made.with_name(f'{EVIL}.py')
    evil.write_text(f'{call}\n')
    return [
        call,
        f'a = {call}',
        f'a = dict(b=[1, {call}])',
        f'a = dict(**{call})',
        f'a = {{"b": {call}}}',
        f'a = {{{call}: 1}}',
        f'a = {{**{call}}}',
        f'a = {{1, {call}}}',
        f'a = ({call},)',
        f'a = -{call}',
        f'if {call}:\n    pass',
        f'x = y = {call}',
        f'def f(a={call}): pass',
        f"_base_ = '{evil}'",
        f"_base_ = ['{evil}']",
        f'custom_imports = dict(imports=[{EVIL!r}])',
        # environment variables are filled in as text, so that the string ends before the call
        f"a = '''{{{{$NOT_SET:'''+str({call})+'''}}}}'''",
        # the same, hidden in one plain string
        "a = '''QQQ+str(CALL)+QQQ'''".replace('Q', "{{$NOT_SET:''}}").replace('CALL', call),
    ]


@pytest.mark.parametrize('number', range(18))
@PLACES
def test_a_text_with_code_is_harmless_to_execute(place, number, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, EVIL, raising=False)
    text = hostile(tmp_path / 'made')[number]
    content = dict(state_dict={})
    *folders, key = place.split('.')
    holder = content
    for folder in folders:
        holder = holder.setdefault(folder, {})
    holder[key] = f'fine = 1\n{text}\n'
    torch.save(content, tmp_path / 'a.pth')
    for load in (CheckpointLoader.load_checkpoint, load_checkpoint_file):
        found = load(str(tmp_path / 'a.pth'), map_location='cpu')
        for name in place.split('.'):
            found = found[name]
        try:
            config = Config.fromstring(found, '.py')
        finally:
            assert not (tmp_path / 'made').exists()
        assert config.fine == 1


def test_the_texts_would_have_been_run(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, EVIL, raising=False)
    for text in hostile(tmp_path / 'made'):
        try:
            Config.fromstring(text, '.py')
        except Exception as error:
            assert (tmp_path / 'made').exists(), (text, error)
        assert (tmp_path / 'made').exists(), text
        (tmp_path / 'made').rmdir()


def test_what_mmengine_writes_comes_back_letter_by_letter():
    values = dict(
        model=dict(type='A', pad=None, scale=(-1, 1.5e-3), names={'a b': [1, [True, ()]], 'c': dict()}),
        empty=[],
        gpu_ids=[0, 1],
        note='it\'s "quoted" \\ and\nbroken {brace}',
    )
    text = Config(values).pretty_text
    assert keep_literals(text) == (text, [])
    shipped = Config.fromfile(ROOT / 'configs/ssd300/ofd_ssd300_vgg16-mobilenet-v1_voc0712.py').pretty_text
    assert keep_literals(shipped) == (shipped, [])


@pytest.mark.parametrize(
    'value',
    ['-1', '+1', '-1.5', "float('-inf')", 'dict()', "dict({'a b': 1})", "dict({'a b': 1}, c=2)", "{'a': {1: (2,)}}"],
)
def test_a_plain_value_is_kept(value):
    assert keep_literals(f'a = {value}\n') == (f'a = {value}\n', [])


@pytest.mark.parametrize(
    'value',
    [
        "-'a'",
        '-1j',
        '~1',
        'not 1',
        'name',
        '1 + 1',
        "f'{print()}'",
        "eval('1')",
        "exec('a = 1')",
        'float(1)',
        'float()',
        "float('1', a=2)",
        "float('1', **{})",
        "float('1', '2')",
        "dict([('a', 1)])",
        'dict(print())',
        "dict({'a': print()})",
        "dict({'a': 1}, {'b': 2})",
        'dict(**{"a": 1})',
        '{**{"a": 1}}',
        'list(a=1)',
        'dict.fromkeys()',
        '[*[1]]',
        '[1 for _ in ()]',
        'lambda: 1',
    ],
)
def test_what_is_no_plain_value_is_left_out(value):
    for text in (f'a = {value}\n', f'a = [1, {value}]\n', f'a = dict(b={value})\n', f'a = {{{value}: 1, 2: 3}}\n'):
        assert keep_literals(text) == ('', ['line 1 (a)'])


def test_infinities_are_read_and_other_names_are_left_out():
    text = 'a = float("inf")\nb = -1\nc = inf\nd = dict(e=torch.float16)\nf = {1, 2}\n'
    assert keep_literals(text) == (
        'a = float("inf")\nb = -1\nf = {1, 2}\n',
        ['line 3 (c)', 'line 4 (d)'],
    )


@pytest.mark.parametrize(
    ('text', 'kept', 'left_out'),
    [
        ('a = 1  # why\n', 'a = 1  # why\n', []),
        ('a = 1\n# {{$NOT_SET:b}}\n', 'a = 1\n', []),
        ('custom_imports = dict(imports=[])\na = 1\n', 'a = 1\n', []),
        ('a = 1\nif a:\n    b = 2\n', 'a = 1\n', ['line 2 (If)']),
    ],
)
def test_comments_stay_unless_something_is_left_out_or_would_be_filled_in(text, kept, left_out):
    assert keep_literals(text) == (kept, left_out)


@pytest.mark.parametrize(
    'text',
    [
        None,
        3,
        [],
        b'\xff',
        b'a = 1',
        bytearray(b'a = 1'),
        'a = ',
        'a = 1\0',
        'a = "\ud800"',
        'a = ' + '-' * 10**6 + '1',
        'a = ' + '[' * 10**6,
        'a = b' + '.c' * 10**6,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_config_is_left_out_whole(text):
    assert keep_literals(text) == ('', ['all of it, which is not the text of a config'])


def test_a_name_that_changes_what_dict_means_is_left_out():
    text, left_out = keep_literals('dict = 1\nfloat = 2\na = dict(b=1)\n')
    assert (text, len(left_out)) == ('a = dict(b=1)\n', 2)


def train(runner_class: type, folder: Path, **changes):
    settings = dict(
        model=toy.ToyClassifier(),
        work_dir=str(folder),
        train_dataloader=dict(
            dataset=toy.ToyImages(),
            batch_size=4,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=True),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        experiment_name=f'{folder.parent.name}-{folder.name}-{len(changes)}',
        **changes,
    )
    runner = runner_class(**settings)
    runner.train()
    return runner


RUNNERS = pytest.mark.parametrize('runner_class', [Runner, FlexibleRunner])


def with_config(checkpoint: Path, text: str) -> Path:
    content = torch.load(checkpoint, weights_only=False)
    content['meta']['config'] = content['meta']['cfg'] = content['message_hub']['runtime_info']['cfg'] = text
    torch.save(content, checkpoint)
    return checkpoint


@RUNNERS
@pytest.mark.parametrize('named', [True, False], ids=['load_from', 'newest'])
def test_a_resumed_training_goes_on_and_runs_nothing(runner_class, named, tmp_path, capsys):
    train(runner_class, tmp_path / 'work')
    text = f'a = 1\n__import__("os").mkdir({str(tmp_path / "made")!r})\n'
    last = with_config(tmp_path / 'work' / 'epoch_2.pth', text)
    capsys.readouterr()
    runner = train(runner_class, tmp_path / 'work', resume=True, **(dict(load_from=str(last)) if named else {}))
    assert runner.iter == 4
    assert not (tmp_path / 'made').exists()
    assert 'epoch_2.pth: the config that it carries (meta.config) is read, never run' in capsys.readouterr().out
    assert 'mkdir' not in runner.message_hub.get_info('cfg')  # which the next checkpoint will hold


@RUNNERS
def test_weights_are_loaded_and_nothing_is_run(runner_class, tmp_path):
    train(runner_class, tmp_path / 'work')
    text = f'__import__("os").mkdir({str(tmp_path / "made")!r})\n'
    last = with_config(tmp_path / 'work' / 'epoch_2.pth', text)
    train(runner_class, tmp_path / 'more', load_from=str(last))
    assert not (tmp_path / 'made').exists()


@RUNNERS
def test_another_number_of_gpus_is_still_noticed(runner_class, tmp_path):
    train(runner_class, tmp_path / 'work')
    last = with_config(tmp_path / 'work' / 'epoch_2.pth', 'gpu_ids = [0, 1, 2]\n')
    with pytest.raises(RuntimeError, match=r'rescale lr|Number of GPUs'):
        train(runner_class, tmp_path / 'work', resume=True, load_from=str(last))
    train(
        runner_class,
        tmp_path / 'work',
        resume=True,
        load_from=str(last),
        auto_scale_lr=dict(enable=True, base_batch_size=4),
    )


class Inferencer(BaseInferencer):
    """The part of an inferencer that reads a checkpoint."""

    def __init__(self, weights: Path):
        self.scope = None
        self.model = self._init_model(Config(), str(weights))

    def _init_pipeline(self, cfg):
        pass

    def visualize(self, *args, **kwargs):
        pass

    def postprocess(self, *args, **kwargs):
        pass


def test_an_inferencer_builds_the_model_that_an_honest_checkpoint_describes(tmp_path):
    config = Config(
        dict(model=dict(type='ToyClassifier', width=6, mean=(1.5, -2, 0)), custom_imports=dict(imports=['os']))
    )
    model = MODELS.build(config.model)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(cfg=config.pretty_text)), tmp_path / 'a.pth')
    found = Inferencer(tmp_path / 'a.pth').model
    assert torch.equal(found.fc.weight, model.fc.weight)
    assert found.data_preprocessor.mean.flatten().tolist() == [1.5, -2, 0]


def test_an_inferencer_does_not_run_a_config(tmp_path):
    text = f'model = dict(type="ToyClassifier", width=__import__("os").mkdir({str(tmp_path / "made")!r}))\n'
    torch.save(dict(state_dict={}, meta=dict(cfg=text)), tmp_path / 'a.pth')
    with pytest.raises(AttributeError, match='model'):
        Inferencer(tmp_path / 'a.pth')
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize(
    ('load', 'logger'),
    [
        (load_checkpoint_file, 'current'),
        (CheckpointLoader.load_checkpoint, 'current'),
        (partial(CheckpointLoader.load_checkpoint, logger='silent'), 'silent'),
    ],
    ids=['ours', 'mmengine', 'silent'],
)
def test_the_log_that_was_asked_for_names_the_file_and_what_is_left_out(load, logger, tmp_path, monkeypatch):
    said = mock.Mock()
    monkeypatch.setattr(config_text, 'print_log', said)
    torch.save(dict(meta=dict(config='a = 1\nb = print()\nc = b()\n')), tmp_path / 'a.pth')
    load(str(tmp_path / 'a.pth'))
    text = f'{tmp_path}/a.pth: the config that it carries (meta.config) is read, never run; left out of it is what is '
    said.assert_called_once_with(f'{text}no plain value: line 2 (b), line 3 (c)', logger=logger, level=logging.WARNING)


def test_a_scheme_of_anyone_is_covered(tmp_path):
    made = tmp_path / 'made'

    def load_from_vault(filename, map_location):
        return dict(meta=dict(config=f'__import__("os").mkdir({os.fspath(made)!r})'))

    CheckpointLoader.register_scheme('vault://', load_from_vault)
    try:
        found = CheckpointLoader.load_checkpoint('vault://a.pth')
    finally:
        del CheckpointLoader._schemes['vault://']
    assert found == dict(meta=dict(config=''))
