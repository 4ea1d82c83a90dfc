import functools
import http.server
import os
import pickle
import re
import subprocess
import sys
import threading
from pathlib import Path

import mmengine.runner.checkpoint as upstream
import pytest
import torch
import toy
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint
from safetensors.torch import save_file
from torch.utils.data import DataLoader

from ovkd_mm.checkpoints.loading import load_checkpoint_file, register_loaders
from ovkd_mm.checkpoints.safe_globals import safe_globals

ZIP_OR_LEGACY = pytest.mark.parametrize('is_zip', [True, False], ids=['zip', 'legacy'])


def save(content, path: Path, is_zip: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    return path


class Touch:
    """Pickles as a call that makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Reach:
    """Pickles as a ``getattr`` that gets at what is imported in a module of mmengine."""

    def __reduce__(self):
        from mmengine.logging import HistoryBuffer

        return getattr, (HistoryBuffer, 'register_statistics')


@ZIP_OR_LEGACY
def test_weights_and_plain_values_come_back(tmp_path, is_zip):
    state = torch.nn.BatchNorm2d(3).state_dict()
    content = dict(
        state_dict=state, meta=dict(epoch=3, names=('a', 'b'), seen={1, 2}), half=torch.ones(2, dtype=torch.bfloat16)
    )
    loaded = load_checkpoint_file(save(content, tmp_path / 'a.pth', is_zip))
    assert loaded['meta'] == content['meta']
    assert loaded['half'].dtype == torch.bfloat16
    assert list(loaded['state_dict']) == list(state)
    assert all(torch.equal(loaded['state_dict'][key], state[key]) for key in state)


def test_the_home_folder_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    save(dict(a=1), tmp_path / 'a.pth')
    assert load_checkpoint_file('~/a.pth') == dict(a=1)


@pytest.mark.parametrize('load', [load_checkpoint_file, CheckpointLoader.load_checkpoint], ids=['ours', 'mmengine'])
def test_a_missing_file_is_named(tmp_path, load):
    for path, what in ((tmp_path / 'none.pth', 'does not exist'), (tmp_path, 'is a folder, not a checkpoint file')):
        with pytest.raises(FileNotFoundError) as caught:
            load(str(path))
        assert str(caught.value) == f'checkpoint {str(path)!r} {what}; check the path'
    with pytest.raises(FileNotFoundError, match=r"checkpoint '' is an empty text; name a file"):
        load('')


@ZIP_OR_LEGACY
def test_code_in_a_file_is_refused_by_name_and_not_run(tmp_path, is_zip):
    path = save(dict(state_dict=Touch(tmp_path / 'made')), tmp_path / 'bomb.pth', is_zip)
    refusal = (
        r"bomb\.pth' was refused, and nothing in it was run: it asks for '(posix|nt)\.mkdir', which is not known to be "
        r'safe, and such a file could run any code on this computer\. If you trust where it comes from, save'
    )
    with pytest.raises(ValueError, match=refusal):
        load_checkpoint_file(path)
    assert not (tmp_path / 'made').exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / 'made').exists()  # so it would have been run


@pytest.mark.parametrize('key', ['state_dict', 'model', None])
def test_who_trusts_a_refused_file_gets_at_its_weights_as_the_message_says(tmp_path, key):
    weights = torch.nn.Linear(2, 3).state_dict()
    content = weights if key is None else {key: weights}
    path = save(content | dict(args=Touch(tmp_path / 'made')), tmp_path / "it's $HOME.pth")
    with pytest.raises(ValueError, match=r'If you trust where it comes from, .* and use weights\.pth$') as caught:
        load_checkpoint_file(path)
    command = re.search('`python (.*)`', str(caught.value))[1]
    subprocess.run(f'{sys.executable} {command}', shell=True, cwd=tmp_path, check=True)
    assert (tmp_path / 'made').exists()  # by the command, which is what the trust is for
    found = load_checkpoint_file(tmp_path / 'weights.pth')['state_dict']
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], weights[key]) for key in weights)


def test_a_whole_model_gives_its_weights_to_who_trusts_it_too(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(2, 3))
    torch.save(model, tmp_path / 'whole.pth')
    with pytest.raises(ValueError, match=r'whole\.pth. was refused') as caught:
        load_checkpoint_file(tmp_path / 'whole.pth')
    command = re.search('`python (.*)`', str(caught.value))[1]
    subprocess.run(f'{sys.executable} {command}', shell=True, cwd=tmp_path, check=True)
    found = load_checkpoint_file(tmp_path / 'weights.pth')['state_dict']
    assert torch.equal(found['0.weight'], model[0].weight)


@pytest.mark.parametrize('load', [load_checkpoint_file, CheckpointLoader.load_checkpoint])
def test_safetensors_are_weights_too(tmp_path, load):
    weights = torch.nn.Linear(2, 3).state_dict()
    save_file(weights, tmp_path / 'model.safetensors')
    found = load(str(tmp_path / 'model.safetensors'))
    assert found.keys() == weights.keys() and all(torch.equal(found[key], weights[key]) for key in weights)
    (tmp_path / 'short.safetensors').write_bytes((tmp_path / 'model.safetensors').read_bytes()[:-4])
    with pytest.raises(ValueError, match=r'short\.safetensors. cannot be read as a checkpoint'):
        load(str(tmp_path / 'short.safetensors'))


@ZIP_OR_LEGACY
def test_getattr_reaches_nothing_but_what_mmengine_saves(tmp_path, is_zip):
    path = save(dict(state_dict=Reach()), tmp_path / 'reach.pth', is_zip)
    with pytest.raises(ValueError, match=r"'builtins\.getattr'"):
        load_checkpoint_file(path)


@pytest.mark.parametrize('size', [0, 1, 100, 0.5, -1], ids=str)
@ZIP_OR_LEGACY
def test_a_file_that_is_cut_short_is_named(tmp_path, is_zip, size):
    path = save(dict(state_dict=torch.nn.Linear(50, 50).state_dict()), tmp_path / 'cut.pth', is_zip)
    data = path.read_bytes()
    path.write_bytes(data[: int(size * len(data)) if isinstance(size, float) else size])
    with pytest.raises(ValueError, match=r"cut\.pth' cannot be read as a checkpoint \(\w+: .*download it again"):
        load_checkpoint_file(path)


@pytest.mark.parametrize(
    ('data', 'reason'),
    [
        (b'no checkpoint at all', 'KeyError: 110'),
        (b'\x80\x04}.', 'RuntimeError: Invalid magic number; corrupt file?'),
        (b'PK\x03\x04' * 50, 'RuntimeError: PytorchStreamReader failed'),
        (b'\x89PNG\r\n\x1a\n', 'KeyError: '),
    ],
)
def test_a_file_of_another_kind_is_named_with_the_reason(tmp_path, data, reason):
    path = tmp_path / 'other.pth'
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"other\.pth' cannot be read as a checkpoint \({re.escape(reason)}"):
        load_checkpoint_file(path)


def test_of_a_long_error_the_first_sentence_is_the_reason(tmp_path, monkeypatch):
    def load(*args, **kwargs):
        raise RuntimeError('\nno room. Buy a disk\nat a shop')

    monkeypatch.setattr(torch, 'load', load)
    expected = r'\(RuntimeError: no room\)\. It is cut short, damaged or not a file .*\(a cached download must be .*\)$'
    with pytest.raises(ValueError, match=expected):
        load_checkpoint_file(save(dict(a=1), tmp_path / 'a.pth'))


@ZIP_OR_LEGACY
def test_an_error_that_only_quotes_a_refusal_is_none(tmp_path, is_zip):
    class Device:
        def __reduce__(self):
            return torch.device, ('GLOBAL os.mkdir',)

    with pytest.raises(ValueError, match=r"cannot be read as a checkpoint \(RuntimeError: .*'GLOBAL os\.mkdir'"):
        load_checkpoint_file(save(dict(a=Device()), tmp_path / 'a.pth', is_zip))


def test_a_program_is_not_run(tmp_path):
    module = torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1, 1))
    module.save(str(tmp_path / 'program.pth'))
    with pytest.raises(ValueError, match=r'program\.pth.*\(ValueError: it is a TorchScript program\)'):
        load_checkpoint_file(tmp_path / 'program.pth')


def test_what_is_no_dict_is_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match=r"list\.pth' holds a list, .* or one with the weights under 'state_dict'$"):
        load_checkpoint_file(save([torch.ones(1)], tmp_path / 'list.pth'))
    # but mmengine also loads other things, such as a tensor of embeddings
    assert len(CheckpointLoader.load_checkpoint(str(tmp_path / 'list.pth'))) == 1


def test_loading_leaves_the_safe_globals_as_they_were(tmp_path):
    if not hasattr(torch.serialization, 'get_safe_globals'):
        pytest.skip('this torch has none')
    load_checkpoint_file(save(dict(a=1), tmp_path / 'a.pth'))
    ours = {(value, name) for name, value in safe_globals().items()}
    assert ours.isdisjoint(torch.serialization.get_safe_globals())


def test_mmengine_refuses_code_too(tmp_path):
    path = save(dict(state_dict=Touch(tmp_path / 'made')), tmp_path / 'bomb.pth')
    with pytest.raises(ValueError, match=r'bomb\.pth.*was refused'):
        load_checkpoint(torch.nn.Linear(1, 1), str(path))
    assert not (tmp_path / 'made').exists()


@ZIP_OR_LEGACY
@pytest.mark.parametrize('load', [load_checkpoint_file, CheckpointLoader.load_checkpoint], ids=['ours', 'mmengine'])
def test_tensors_are_put_where_they_are_asked_for(tmp_path, load, is_zip):
    asked = []
    load(
        str(save(dict(a=torch.ones(1)), tmp_path / 'a.pth', is_zip)),
        map_location=lambda data, where: asked.append(where),
    )
    assert asked == ['cpu']


def test_mmengine_still_names_its_backend(capsys, tmp_path):
    CheckpointLoader.load_checkpoint(str(save(dict(a=1), tmp_path / 'a.pth')), logger=None)
    assert 'Loads checkpoint by local backend' in capsys.readouterr().out


@pytest.mark.parametrize('backend', ['s3', 'openmmlab'])
def test_the_loaders_of_other_schemes_refuse_code_too(backend, tmp_path, monkeypatch):
    path = save(dict(state_dict=Touch(tmp_path / 'made')), tmp_path / 'bomb.pth')
    whole = save(dict(a=HistoryBuffer([1.5], [1]), b=torch.ones(1)), tmp_path / 'good.pth')
    stored = dict(get=lambda self, name: (tmp_path / Path(name).name).read_bytes())
    monkeypatch.setattr(upstream, 'get_file_backend', lambda *args, **kwargs: type('Backend', (), stored)())
    monkeypatch.setattr(upstream, 'get_external_models', lambda: dict(bomb=str(path), good=str(whole)))
    bomb, good = ('s3://bomb.pth', 's3://good.pth') if backend == 's3' else ('openmmlab://bomb', 'openmmlab://good')
    assert CheckpointLoader.load_checkpoint(good)['a'].current() == 1.5  # which plain torch.load refuses
    assert CheckpointLoader.load_checkpoint(good, map_location='meta')['b'].is_meta
    with pytest.raises((ValueError, pickle.UnpicklingError), match=r'\.mkdir'):
        CheckpointLoader.load_checkpoint(bomb)
    assert not (tmp_path / 'made').exists()


def test_registering_again_wraps_nothing_twice():
    load = CheckpointLoader.load_checkpoint.__func__
    register_loaders(upstream)
    assert CheckpointLoader.load_checkpoint.__func__ is load


def test_what_mmengine_takes_for_torch_is_torch_but_for_its_loading():
    assert upstream.torch.__name__ == 'torch'
    assert upstream.torch.distributed is torch.distributed
    assert upstream.torch.load is not torch.load


@pytest.fixture
def served(tmp_path):
    """A folder and the address where it is served."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    folder = tmp_path / 'served'
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f'http://127.0.0.1:{server.server_port}'
        server.shutdown()
        thread.join()


def test_a_download_is_kept_and_loaded_as_safely(served, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    folder, address = served
    save(dict(state_dict=dict(a=torch.ones(2))), folder / 'good.pth')
    save(dict(state_dict=Touch(tmp_path / 'made')), folder / 'bomb.pth')
    for _ in range(2):
        loaded = CheckpointLoader.load_checkpoint(f'{address}/good.pth?version=1', logger=None)
        assert torch.equal(loaded['state_dict']['a'], torch.ones(2))
        loaded = CheckpointLoader.load_checkpoint(f'{address}/good.pth?version=1', map_location='meta', logger=None)
        assert loaded['state_dict']['a'].is_meta
        assert (tmp_path / 'torch' / 'hub' / 'checkpoints' / 'good.pth').is_file()
        (folder / 'good.pth').unlink(missing_ok=True)  # the second time it comes from the cache
    with pytest.raises(ValueError, match=r'checkpoints/bomb\.pth.*was refused'):
        CheckpointLoader.load_checkpoint(f'{address}/bomb.pth', logger=None)
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize('progress', [None, True, False])
def test_a_download_shows_its_progress_where_it_is_asked_to(progress, served, tmp_path, capsys):
    folder, address = served
    save(dict(a=1), folder / 'a.pth')
    asked = {} if progress is None else dict(progress=progress)
    assert upstream.load_url(f'{address}/a.pth', model_dir=str(tmp_path / 'kept'), **asked) == dict(a=1)
    assert (tmp_path / 'kept' / 'a.pth').is_file()
    assert ('100%' in capsys.readouterr().err) == (progress is not False)


class InterruptedTrainingError(Exception):
    pass


class InterruptHook(Hook):
    priority = 'LOWEST'  # after the checkpoint is saved

    def after_train_epoch(self, runner):
        if runner.epoch == 1:
            raise InterruptedTrainingError


def runner(work_dir: Path, resume: bool = False) -> Runner:
    torch.manual_seed(0)
    data = [dict(inputs=image, data_samples=label) for image, label in zip(*toy.batch(8), strict=True)]
    return Runner(
        model=toy.ToyClassifier(),
        work_dir=str(work_dir),
        train_dataloader=DataLoader(data, batch_size=4),
        train_cfg=dict(by_epoch=True, max_epochs=4),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)),
        # The first saves a function, the second a Counter.
        param_scheduler=[
            dict(type='OneCycleLR', eta_max=0.1, total_steps=8, by_epoch=False),
            dict(type='MultiStepLR', milestones=[2], by_epoch=True),
        ],
        default_hooks=dict(logger=None),
        resume=resume,
        log_level='ERROR',
        experiment_name=f'{work_dir.name}-{resume}',
    )


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(tmp_path):
    whole = runner(tmp_path / 'whole')
    whole.train()
    first = runner(tmp_path / 'parts')
    first.register_hook(InterruptHook())
    with pytest.raises(InterruptedTrainingError):
        first.train()
    rest = runner(tmp_path / 'parts', resume=True)
    rest.train()

    assert rest.iter == 8
    for name in ('train/loss', 'train/lr'):
        expected, found = (run.message_hub.get_scalar(name) for run in (whole, rest))
        assert found.data[0].tolist() == expected.data[0].tolist()
        assert len(set(found.data[0].tolist())) == 8
    expected, found = (run.model.state_dict() for run in (whole, rest))
    assert all(torch.equal(found[key], expected[key]) for key in expected)
