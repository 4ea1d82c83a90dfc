import copy
import io
import os
import zipfile
from unittest import mock

import pytest
import torch
import toy
from mmengine.model import ImgDataPreprocessor
from mmengine.registry import MODELS

from ovkd_mm.distillers import Teacher, feature_cache
from ovkd_mm.distillers.feature_cache import FeatureCache
from ovkd_mm.positions import GroupEnds, PreReLU


def teacher(cache, seed=0, places=('layer1', 'layer2'), position=PreReLU, model=None, **arguments):
    torch.manual_seed(seed)
    one = Teacher(
        model or dict(type='ToyClassifier'),
        student_preprocessor=ImgDataPreprocessor(mean=(0, 0, 0), std=(1, 1, 1)),
        input_shape=(16, 16),
        allow_random=True,
        norm_mode='running',
        cache=None if cache is None else cache if isinstance(cache, dict) else str(cache),
        **arguments,
    )
    one.attach([position(f'backbone.{place}').resolve(one.trace) for place in places])
    return one


def not_to_run(one):
    one.model.forward = mock.Mock(side_effect=AssertionError('the teacher ran'))
    return one


def same(found, expected):
    return len(found) == len(expected) and all(
        all(torch.equal(a, b) for a, b in zip(x, y, strict=True)) if isinstance(x, tuple) else torch.equal(x, y)
        for x, y in zip(found, expected, strict=True)
    )


def files(folder):
    return [path for path in folder.rglob('*') if path.is_file()]


@pytest.mark.parametrize('position', [PreReLU, GroupEnds])
def test_what_was_seen_once_is_read_bit_for_bit_and_the_teacher_rests(tmp_path, position):
    images = toy.batch()[0]
    live = teacher(None, position=position)(images)
    first = teacher(tmp_path, position=position)
    assert same(first(images), live) and first.cache.hits == 0
    again = not_to_run(teacher(tmp_path, position=position))
    assert same(again(images), live) and again.cache.hits == 1
    assert same(again(images.flip(0)), [_flipped(one) for one in live])  # each image for itself
    assert len(files(tmp_path)) == len(images)


def _flipped(feature):
    return tuple(map(_flipped, feature)) if isinstance(feature, tuple) else feature.flip(0)


def test_a_batch_of_which_some_are_missing_is_made_anew_and_completed(tmp_path):
    images = toy.batch()[0]
    one = teacher(tmp_path)
    one(images[:3])
    assert same(one(images), teacher(None)(images))
    assert one.cache.hits == 0.75
    assert same(not_to_run(one)(images), teacher(None)(images))


def test_an_image_that_differs_in_one_number_is_another(tmp_path):
    images = toy.batch()[0]
    one = teacher(tmp_path)
    one(images)
    images[2, 1, 5, 5] += 1e-3
    assert same(one(images), teacher(None)(images))
    assert one.cache.hits == 0.75


@pytest.mark.parametrize(
    'other',
    [dict(seed=1), dict(places=('layer2', 'layer1')), dict(dtype='bfloat16'), dict(position=GroupEnds)],
    ids=['weights', 'places', 'dtype', 'position'],
)
def test_another_teachers_features_are_not_taken(tmp_path, other):
    images = toy.batch()[0]
    teacher(tmp_path)(images)
    one = teacher(tmp_path, **other)
    assert same(one(images), teacher(None, **other)(images))
    assert one.cache.hits == 0


def test_another_normalization_makes_another_cache(tmp_path):
    images = toy.batch()[0]
    teacher(tmp_path)(images)
    one = teacher(tmp_path)
    one.renormalize.shift += 1
    one.cache.belongs_to(one, [tap.place for tap in one._taps], 'False None')
    one(images)
    assert one.cache.hits == 0


def test_features_of_autocast_are_kept_apart(tmp_path):
    images = toy.batch()[0]
    teacher(tmp_path)(images)
    one = teacher(tmp_path)
    with torch.autocast('cpu', torch.bfloat16):
        found = one(images)
        assert one.cache.hits == 0
        assert same(one(images), found) and one.cache.hits == 1
    assert {feature.dtype for feature in found} == {torch.bfloat16}


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_half_precision_takes_half_the_room_and_gives_the_dtype_back(tmp_path, dtype):
    images = toy.batch()[0]
    teacher(tmp_path / 'whole')(images)
    half = teacher(dict(folder=str(tmp_path / 'half'), dtype=dtype))
    live = half(images)
    found = not_to_run(half)(images)
    for feature, exact in zip(found, live, strict=True):
        assert feature.dtype == torch.float32
        assert torch.equal(feature, exact.to(getattr(torch, dtype)).float())
    rooms = [sum(path.stat().st_size for path in files(tmp_path / name)) for name in ('whole', 'half')]
    assert rooms[0] - rooms[1] >= sum(feature.numel() for feature in live) * 2


def flip_a_bit(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        largest = max(archive.infolist(), key=lambda one: one.file_size)
        place = data.index(archive.read(largest)) + largest.file_size // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize(
    'damage', [lambda data: data[: len(data) // 2], lambda data: b'', lambda data: b'x' * 999, flip_a_bit]
)
def test_a_damaged_file_is_made_anew(tmp_path, damage):
    images = toy.batch()[0]
    one = teacher(tmp_path)
    live = one(images)
    file = files(tmp_path)[0]
    file.write_bytes(damage(file.read_bytes()))
    assert same(one(images), live) and one.cache.hits == 0.75
    assert same(not_to_run(one)(images), live)


def test_a_damaged_file_that_cannot_be_removed_is_passed_over(tmp_path, monkeypatch):
    images = toy.batch()[0]
    one = teacher(tmp_path)
    live = one(images)
    files(tmp_path)[0].write_bytes(b'')
    read_only = mock.Mock(side_effect=OSError('Read-only file system'))
    monkeypatch.setattr(feature_cache.Path, 'unlink', read_only)
    monkeypatch.setattr(torch, 'save', read_only)
    assert same(one(images), live) and one.cache.hits == 0.75


def test_a_kill_while_writing_leaves_nothing_that_is_read(tmp_path):
    images = toy.batch()[0]
    one = teacher(tmp_path)
    with (
        mock.patch.object(feature_cache.os, 'replace', side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        one(images)
    assert files(tmp_path) == []
    # What kill -9 leaves has another name.
    one(images)
    file = files(tmp_path)[0]
    file.rename(file.with_suffix('.0123abcd'))
    one(images)
    assert one.cache.hits == 0.75


def test_a_full_folder_takes_no_more_and_says_so_once(tmp_path):
    (tmp_path / 'of another teacher').write_bytes(b'x' * 2**20)
    one = teacher(dict(folder=str(tmp_path), gigabytes=(2**20 + 1) / 2**30))
    with mock.patch.object(feature_cache, 'print_log') as log:
        assert same(one(toy.batch()[0]), teacher(None)(toy.batch()[0]))
        one(toy.batch(seed=1)[0])
    assert len(files(tmp_path)) == 2
    log.assert_called_once()
    assert 'is full' in log.call_args.args[0]


def test_what_other_processes_write_meanwhile_counts_too(tmp_path, monkeypatch):
    one = teacher(str(tmp_path / 'first'))
    one(toy.batch()[0][:1])
    (file,) = files(tmp_path / 'first')
    gigabytes = 3.5 * file.stat().st_size / 2**30
    for processes, kept in ((1, 4), (2, 2)):
        monkeypatch.setattr(feature_cache, 'get_world_size', lambda processes=processes: processes)
        folder = tmp_path / str(processes)
        teacher(dict(folder=str(folder), gigabytes=gigabytes))(toy.batch()[0])
        assert len(files(folder)) == kept


def test_random_augmentation_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_cache, 'HOPELESS', 8)
    one = teacher(tmp_path)
    with mock.patch.object(feature_cache, 'print_log') as log:
        for seed in range(5):
            one(toy.batch(seed=seed)[0])
    log.assert_called_once()
    assert 'none of the first 8 images was seen before' in log.call_args.args[0]
    one = teacher(tmp_path)
    with mock.patch.object(feature_cache, 'print_log') as log:
        for seed in (0, 7, 8, 9):
            one(toy.batch(seed=seed)[0])
    log.assert_not_called()


def test_features_of_a_batchs_statistics_cannot_be_kept(tmp_path):
    with pytest.raises(ValueError, match=r"teacher.cache needs teacher.norm_mode='running'"):
        Teacher(dict(type='ToyClassifier'), ImgDataPreprocessor(), (16, 16), allow_random=True, cache=str(tmp_path))
    with pytest.raises(ValueError, match=r"teacher.cache.dtype must be 'bfloat16' or 'float16', got 'half'"):
        FeatureCache(str(tmp_path), dtype='half')


@pytest.mark.parametrize('setting', ['cache', 'compile'])
def test_a_method_that_needs_the_graph_from_the_images_refuses_what_would_do_without(tmp_path, setting):
    config = toy.distiller_config(method=['ofd', 'jacobian'])
    config['teacher'] |= dict(cache=dict(cache=str(tmp_path), norm_mode='running'), compile=dict(compile=True))[setting]
    with pytest.raises(ValueError, match=rf'teacher\.{setting} cannot be combined with a method that matches'):
        MODELS.build(config)


def test_a_distillation_with_a_cache_is_bit_for_bit_the_one_without(tmp_path):
    def trained(**cache):
        torch.manual_seed(0)
        config = toy.distiller_config()
        config['teacher'] = dict(config['teacher'], norm_mode='running', **cache)
        model = MODELS.build(copy.deepcopy(config)).train()
        optimizer, logs = torch.optim.SGD(model.parameters(), 0.1), []
        for step in range(4):
            losses = model(*toy.batch(seed=step % 2), mode='loss')
            optimizer.zero_grad()
            sum(value for name, value in losses.items() if 'loss' in name).backward()
            optimizer.step()
            logs.append(losses)
        return logs, model.state_dict()

    (plain, weights), (cached, cached_weights) = trained(), trained(cache=str(tmp_path))
    assert [log.pop('distill_cached').item() for log in cached] == [0, 0, 1, 1]
    for one, other in zip(plain, cached, strict=True):
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert all(torch.equal(weights[name], cached_weights[name]) for name in weights)


def test_a_teacher_of_equal_weights_and_other_settings_has_features_of_its_own(tmp_path):
    images = toy.batch()[0]
    teacher(tmp_path)(images)
    other = teacher(tmp_path, model=dict(type='ToyClassifier', inplace=False))  # nothing in its weights tells
    other(images)
    assert other.cache.hits == 0


@pytest.mark.parametrize('error', [OSError('No space left on device'), RuntimeError('unexpected pos 896 vs 790')])
def test_where_the_disk_has_no_room_the_teacher_goes_on_and_it_is_said_once(tmp_path, monkeypatch, error):
    images, live = toy.batch()[0], teacher(None)(toy.batch()[0])
    one, said = teacher(tmp_path), []
    monkeypatch.setattr(torch, 'save', mock.Mock(side_effect=error))
    monkeypatch.setattr(feature_cache, 'print_log', lambda message, *_, **__: said.append(message))
    assert same(one(images), live) and same(one(images), live)
    (message,) = said
    assert message == f'teacher.cache: {tmp_path} cannot be written to ({error}); no more is kept'
    assert not files(tmp_path)


@pytest.mark.parametrize(
    ('setting', 'kind', 'message'),
    [
        (dict(dir='features'), ValueError, r"teacher.cache has no setting 'dir'"),
        (True, TypeError, 'teacher.cache must be a dict'),
        ({}, ValueError, r'teacher.cache names no folder: .*got {}'),
        ('', ValueError, r"teacher.cache names no folder: .*got ''"),
    ],
)
def test_a_cache_without_a_folder_or_with_an_unknown_setting_is_an_error(setting, kind, message):
    model = toy.distiller_config()
    model['teacher'] |= dict(cache=setting, norm_mode='running')
    with pytest.raises(kind, match=message):
        MODELS.build(model)


def test_the_other_order_of_channels_is_another_teacher(tmp_path):
    found = []
    for order in ('rgb', 'bgr'):
        one = teacher(tmp_path, student_order='rgb', channel_order=order)
        found += one(toy.batch()[0])
        assert one.cache.hits == 0
    assert not torch.equal(found[0], found[2])


def test_the_folder_is_measured_again_at_doubling_intervals(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_cache, 'LOOK_AGAIN', 4)
    one, looks = teacher(tmp_path), []
    monkeypatch.setattr(one.cache, '_measure', lambda: looks.append(one.cache._written) or 0)
    for seed in range(10):
        one(toy.batch(seed=seed)[0])
    assert looks == [4, 8, 16, 32]


def test_what_a_killed_process_was_writing_is_removed_after_a_day_and_nothing_else_is(tmp_path):
    one = teacher(tmp_path)
    one(toy.batch()[0])
    file = files(tmp_path)[0]
    old, new, other = file.with_suffix('.0123abcd'), file.with_suffix('.4567abcd'), file.with_suffix('.notes')
    for draft in (old, new, other):
        draft.write_bytes(b'x')
    for draft in (old, other):
        os.utime(draft, times=(0, 0))
    teacher(tmp_path)
    assert [draft.exists() for draft in (old, new, other, file)] == [False, True, True, True]


def test_features_that_are_not_of_one_image_each_are_refused(tmp_path):
    cache = teacher(tmp_path).cache
    names = cache.names(images := toy.batch()[0])
    with pytest.raises(
        ValueError, match=r'one for 4 images has the shape \(8, 3, 8, 8\), as inside windowed attention'
    ):
        cache.write(names, [torch.zeros(8, 3, 8, 8)])
    cache.write(names, [torch.zeros(len(images), 3, 8, 8)])


def test_a_size_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"teacher\.cache\.gigabytes must be a number from 0 up, got '1'"):
        teacher(dict(folder=str(tmp_path), gigabytes='1'))


def test_what_was_found_in_a_cache_is_not_shown_while_nobody_asks_it(tmp_path):
    config = toy.distiller_config()
    config['teacher'] = dict(config['teacher'], norm_mode='running', cache=str(tmp_path))
    model = MODELS.build(config).train()
    assert 'distill_cached' in model(*toy.batch(), mode='loss')
    model.distill_weight = 0.0
    assert 'distill_cached' not in model(*toy.batch(), mode='loss')


class Stranger:
    """What runs when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_file_of_a_stranger_runs_nothing(tmp_path):
    images, one = toy.batch()[0], teacher(tmp_path / 'cache')
    live = one(images)
    torch.save(Stranger(tmp_path / 'fired'), files(tmp_path / 'cache')[0])
    assert same(one(images), live)
    assert not (tmp_path / 'fired').exists()


def test_a_value_that_float16_cannot_hold_is_kept(tmp_path):
    features = [torch.tensor([1e5, 1 / 3]).view(1, 2, 1, 1), torch.tensor([1 / 3, 7.0]).view(1, 2, 1, 1)]
    cache = FeatureCache(str(tmp_path), dtype='float16')
    cache.belongs_to(torch.nn.Identity(), [], '')
    for name, feature in zip(('a' * 32, 'b' * 32), features, strict=True):
        cache.write([name], [feature])
    (found,) = cache.read(['a' * 32, 'b' * 32], torch.device('cpu'))
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.cat([features[0], features[1].half().float()]))


def test_what_is_there_is_not_written_again(tmp_path):
    images, one = toy.batch()[0], teacher(tmp_path)
    one(images[:3])
    before = {file: file.stat().st_ino for file in files(tmp_path)}
    one(images)
    assert len(files(tmp_path)) == 4 and all(file.stat().st_ino == number for file, number in before.items())


def test_images_of_equal_bytes_and_of_another_shape_or_dtype_are_others(tmp_path):
    zeros = torch.zeros(1, 3, 4, 4)
    names = [FeatureCache(str(tmp_path)).names(one)[0] for one in (zeros, zeros.view(1, 3, 2, 8), zeros.int())]
    assert len(set(names)) == 3


def test_a_teacher_of_equal_weights_under_other_names_is_another(tmp_path):
    weights, feature, found = torch.nn.Linear(2, 2), torch.ones(1, 3, 2, 2), []
    for name in ('first', 'second'):
        cache = FeatureCache(str(tmp_path))
        cache.belongs_to(torch.nn.ModuleDict({name: weights}), [], '')
        found.append(cache.read(['0' * 32], torch.device('cpu')))
        cache.write(['0' * 32], [feature])
    assert found == [None, None]


def test_a_file_that_cannot_be_read_at_the_moment_is_left_alone(tmp_path, monkeypatch):
    images, one = toy.batch()[0], teacher(tmp_path)
    live, kept = one(images), files(tmp_path)
    monkeypatch.setattr(torch, 'load', mock.Mock(side_effect=OSError(24, 'Too many open files')))
    assert same(one(images), live) and one.cache.hits == 0
    assert files(tmp_path) == kept
