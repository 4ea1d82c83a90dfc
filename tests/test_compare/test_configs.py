import functools
from pathlib import Path

import pytest
from command_line import ROOT
from mmengine.config import Config
from toy import PAIRS, distiller_config

from ovkd_mm.compare import Entry, Study, read_study
from ovkd_mm.compare.configs import entry_config, read_base, seeded, teacher_digest
from ovkd_mm.launch.plain_config import plain_config
from ovkd_mm.method_files import METHODS
from ovkd_mm.what_differs import what_differs

CIFAR = ROOT / 'configs/cifar10/ofd_wrn28-4_wrn16-2_cifar10.py'
read_once = functools.cache(read_base)
EIGHT = ('kd', 'fitnets', 'at', 'fsp', 'jacobian', 'ft', 'ab', 'ofd_cifar')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    path.touch()
    return path


@pytest.fixture
def base() -> Config:
    return read_once(CIFAR)


def build(base: Config, entry: Entry, **options) -> Config:
    return entry_config(base, Study(CIFAR, (entry,), options=options), entry)


def toy_base(**changes) -> Config:
    return Config(dict(model=distiller_config(), **changes))


@pytest.mark.parametrize('name', EIGHT)
def test_a_method_brings_what_its_file_says_and_nothing_else(base, checkpoint, name):
    base = Config(base.to_dict() | dict(custom_hooks=[dict(type='EMAHook'), dict(type='Own')]))
    # As though the base were AB's, whose stage must not stay.
    base.model.method.hooks = [dict(type='ovkd_mm.InitializationHook', epochs=3)]
    before = base.to_dict()

    found = build(base, Entry(name, name), **{'model.teacher.checkpoint': str(checkpoint)})
    method = Config.fromfile(METHODS / f'{name}.py')
    assert found.model.method.to_dict() == method.method.to_dict()
    parts = {'position', 'teacher_transform', 'student_transform', 'loss', 'weight'}
    more = {'ft': {'hooks'}, 'ab': {'hooks'}, 'ofd_cifar': {'norm_mode', 'without_activation'}}
    assert set(found.model.method) == parts | more.get(name, set())
    assert found.custom_hooks == [dict(type='EMAHook'), dict(type='Own')]
    for part in ('student', 'pairs', 'input_shape'):
        assert found.model[part] == base.model[part]
    assert found.optim_wrapper == base.optim_wrapper
    assert base.to_dict() == before


def test_methods_with_a_plus_between_them_add_up(base, checkpoint):
    options = {'model.teacher.checkpoint': str(checkpoint), 'model.method.1.loss.loss_weight': 0.5}
    found = build(base, Entry('both', 'ofd_cifar+kd'), **options).model.method
    ofd, kd = (Config.fromfile(METHODS / f'{name}.py').method for name in ('ofd_cifar', 'kd'))
    assert (found[0], found[1]) == (ofd, kd | dict(loss=kd.loss | dict(loss_weight=0.5)))
    with pytest.raises(ValueError, match="unknown method 'kdd'; nearest: kd"):
        build(base, Entry('both', 'ofd_cifar+kdd'))
    with pytest.raises(ValueError, match=r'method none\+kd: none is the student alone.*leave it out'):
        build(base, Entry('both', 'none+kd'))
    with pytest.raises(ValueError, match="unknown method '5'"):  # as YAML may have it
        build(base, Entry('five', 5))


def test_the_student_alone_is_the_plain_config(base):
    found = build(base, Entry('none', 'none'), **{'model.teacher.checkpoint': 'nowhere.pth'})
    expected = plain_config(base)
    assert found.to_dict() == expected.to_dict()
    plain = Config.fromfile(CIFAR.with_name('wrn16-2_cifar10.py'))
    assert {key: found[key] for key in plain} == {key: plain[key] for key in plain}


def test_settings_meant_for_the_distillation_do_not_break_the_student_alone(base):
    options = {
        'model.student.backbone.depth': 22,
        'model.method.loss.loss_weight': 5,
        'model.method.hooks': [dict(type='x')],
    }
    found = build(base, Entry('none', 'none'), **options)
    assert found.model.backbone == dict(base.model.student.backbone, depth=22)
    assert 'custom_hooks' not in found


def test_settings_come_last_and_an_entrys_after_the_studys(base, checkpoint):
    options = {
        'model.teacher.checkpoint': str(checkpoint),
        'train_cfg': dict(max_epochs=3),
        'train_cfg.val_begin': 2,
        'model.input_shape': (8, 8),
    }
    entries = [Entry('ab', 'ab', {'train_cfg.max_epochs': 4, 'model.method.hooks.0.epochs': 1}), Entry('at', 'at')]
    study = Study(CIFAR, tuple(entries), options=options)
    ab, at = (entry_config(base, study, entry) for entry in entries)
    assert ab.model.method.hooks == [dict(type='ovkd_mm.InitializationHook', epochs=1)]
    assert 'hooks' not in at.model.method
    assert (ab.train_cfg.max_epochs, at.train_cfg.max_epochs) == (4, 3)
    assert ab.train_cfg.val_begin == 2
    assert ab.model.input_shape == (8, 8)
    assert options['train_cfg'] == dict(max_epochs=3)


def test_the_configs_own_method_keeps_its_hooks(base, checkpoint):
    base = Config(base.to_dict())
    base.model.method.hooks = [dict(type='ovkd_mm.InitializationHook', epochs=3)]
    found = build(base, Entry('own'), **{'model.teacher.checkpoint': str(checkpoint)})
    assert found.model.method == base.model.method


def test_a_seed_is_set_and_the_rest_of_the_randomness_kept():
    config = Config(dict(randomness=dict(seed=None, deterministic=True)))
    assert seeded(config, 3).randomness == dict(seed=3, deterministic=True)
    assert config.randomness.seed is None
    assert seeded(Config(dict(a=1)), 3).randomness == dict(seed=3)


def test_an_unknown_method_is_answered_with_the_nearest(base):
    with pytest.raises(ValueError, match=r"unknown method 'fitnet'; nearest: fitnets \(or none"):
        build(base, Entry('x', 'fitnet'))


def test_a_config_that_distils_nothing_is_named(tmp_path):
    Config(dict(model=dict(type='ImageClassifier'))).dump(tmp_path / 'plain.py')
    with pytest.raises(ValueError, match=r"distills nothing, its model.type is 'ImageClassifier'"):
        read_base(tmp_path / 'plain.py')
    Config(dict(a=1)).dump(tmp_path / 'empty.py')
    with pytest.raises(ValueError, match=r'distills nothing, its model.type is None'):
        read_base(tmp_path / 'empty.py')


def test_a_missing_teacher_checkpoint_is_named_with_the_fix(base):
    with pytest.raises(FileNotFoundError, match=r"checkpoint='nowhere.pth' does not exist; train .*--cfg-options"):
        build(base, Entry('kd', 'kd'), **{'model.teacher.checkpoint': 'nowhere.pth'})


def test_pairs_with_parts_of_their_own_are_refused_where_methods_are_swapped():
    pairs = [PAIRS[0], dict(PAIRS[1], loss=dict(type='ovkd_mm.L2Loss'))]
    base = Config(dict(model=distiller_config(pairs=pairs)))
    with pytest.raises(ValueError, match=r'model.pairs\[1\] of the base config overrides loss'):
        build(base, Entry('at', 'at'))
    assert build(base, Entry('own')).model.pairs == pairs
    build(Config(dict(model=distiller_config(pairs='auto'))), Entry('at', 'at'))


def test_numbers_that_cannot_be_are_refused_before_anything_is_trained(base, checkpoint):
    with pytest.raises(ValueError, match=r'train_dataloader\.batch_size must be .* got 0'):
        build(base, Entry('own', options={'train_dataloader.batch_size': 0}))


def test_settings_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r'^odd: model\.pairs\.7\.weight=1: the config has no place for it'):
        build(toy_base(), Entry('odd', None, {'model.pairs.7.weight': 1}))


STUDIES = [file for file in sorted((ROOT / 'configs').glob('*/*.yml')) if file.name != 'metafile.yml']
CHANGES = dict(position='method.position', teacher_transform='method.teacher_transform', distance='method.loss')


@pytest.mark.parametrize('file', STUDIES, ids=lambda file: file.stem)
def test_every_study_that_ships_comes_to_configs_that_differ(file, checkpoint, monkeypatch):
    monkeypatch.chdir(ROOT)
    study = read_study(file, options={'model.teacher.checkpoint': str(checkpoint)})
    base = read_once(study.config)
    configs = [entry_config(base, study, entry).to_dict() for entry in study.entries]
    assert all(what_differs(one, two) for index, one in enumerate(configs) for two in configs[:index])
    if file.parent.name == 'ablation':
        part = CHANGES.get(file.stem, 'teacher.norm_mode')
        assert configs[0]['model'] == base.model.to_dict() | dict(teacher=configs[0]['model']['teacher'])
        for other in configs[1:]:
            assert all(key.startswith(f'model.{part}') for key in what_differs(configs[0], other))
        assert study.seeds == (0, 1, 2)
    elif file.stem == 'compare_small':
        assert {entry.method for entry in study.entries} == {'none', *EIGHT}


def test_the_four_ablations_ship():
    names = {file.stem for file in STUDIES if file.parent.name == 'ablation'}
    assert names == {*CHANGES, 'teacher_norm'}


def test_another_teachers_config_or_weights_in_a_file_of_the_same_name_are_another_teacher(tmp_path):
    teacher, weights = tmp_path / 'teacher.py', tmp_path / 'teacher.pth'
    teacher.write_text("model = dict(type='ToyClassifier', width=6)")
    weights.write_bytes(b'weights')
    config = Config(dict(model=distiller_config(teacher=dict(model=str(teacher), checkpoint=str(weights)))))
    digests = [teacher_digest(config)]
    assert digests[0] == teacher_digest(config)
    teacher.write_text(teacher.read_text() + '\ndata_preprocessor = dict(mean=[0.0])')
    digests.append(teacher_digest(config))
    weights.write_bytes(b'others')
    digests.append(teacher_digest(config))
    assert len(set(digests)) == 3 and None not in digests
    assert teacher_digest(Config(dict(model=dict(type='ToyClassifier')))) is None


@pytest.mark.parametrize(
    ('teacher', 'message'),
    [
        ('x', r"teacher must be a dict .* got 'x'"),
        (dict(checkpoint=5), r'teacher\.checkpoint must be a path or a URL, got 5'),
        (dict(model=7), r"teacher\.model must be a config's path, a name or a dict, got 7"),
    ],
)
def test_a_teacher_that_is_none_is_named_as_the_distiller_names_it(teacher, message):
    with pytest.raises(TypeError, match=message):
        build(toy_base(), Entry('own'), **{'model.teacher': teacher})


def test_a_checkpoint_may_be_named_from_home(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'teacher.pth').write_bytes(b'weights')
    digests = []
    for checkpoint in ('~/teacher.pth', str(tmp_path / 'teacher.pth')):
        digests.append(teacher_digest(build(toy_base(), Entry('own'), **{'model.teacher.checkpoint': checkpoint})))
    assert digests[0] == digests[1] is not None


def test_checkpoints_that_differ_in_their_last_byte_are_of_different_teachers(tmp_path):
    found = set()
    for last in (b'a', b'b'):
        (tmp_path / 'teacher.pth').write_bytes(b'x' * 2**21 + last)
        teacher = dict(model=dict(type='ToyClassifier'), checkpoint=str(tmp_path / 'teacher.pth'))
        found.add(teacher_digest(Config(dict(model=dict(type='ovkd_mm.FeatureDistiller', teacher=teacher)))))
    assert len(found) == 2


def test_the_config_that_a_resumed_training_leaves_does_not_lend_its_weights(tmp_path):
    hook = dict(type='ovkd_mm.CheckpointFitHook', needed=['optimizer'])
    toy_base(resume=True, load_from='distilled.pth', custom_hooks=[hook]).dump(tmp_path / 'left.py')
    read = read_base(tmp_path / 'left.py')
    assert (read.resume, read.load_from, read.get('custom_hooks')) == (False, None, None)
    toy_base(load_from='pretrained.pth').dump(tmp_path / 'own.py')
    assert read_base(tmp_path / 'own.py').load_from == 'pretrained.pth'
