import re
from pathlib import Path

import pytest

from ovkd_mm.compare import Entry, Study, read_study
from ovkd_mm.compare.study import StudyTeacher


@pytest.fixture
def write(tmp_path):
    (tmp_path / 'base.py').touch()

    def write(text: str) -> Path:
        file = tmp_path / 'study.yml'
        file.write_text(f'config: base.py\n{text}')
        return file

    return write


def test_a_list_of_methods_is_short_for_labels_of_their_names(write, tmp_path):
    study = read_study(write('methods: [none, kd]\nseeds: [3, 4]\nmetric: mIoU\ncfg_options: {a.b: 1}'))
    assert study.entries == (Entry('none', 'none'), Entry('kd', 'kd'))
    assert (study.seeds, study.metric, study.options) == ((3, 4), 'mIoU', {'a.b': 1})
    assert study.config == tmp_path / 'base.py'


def test_a_mapping_gives_each_label_its_method_and_settings(write):
    study = read_study(write('methods:\n  own: {}\n  also:\n  kd, T=1: {method: kd, model.method.loss.temperature: 1}'))
    assert study.entries == (
        Entry('own'),
        Entry('also'),
        Entry('kd, T=1', 'kd', {'model.method.loss.temperature': 1}),
    )
    assert study.entries[2].folder == 'kd-T=1'
    assert study.seeds == (0,)


@pytest.mark.parametrize('text', ['1e-2', '1E-2', '.1e-1', '1.e-2', '+1e-2', '0.01'])
def test_a_number_is_one_in_any_notation_that_python_knows(write, text):
    study = read_study(
        write(f'methods: [kd]\ncfg_options: {{rate: {text}, less: -{text.strip("+")}, name: e2, two: 2}}')
    )
    assert study.options == dict(rate=0.01, less=-0.01, name='e2', two=2)


def test_flags_override_the_file(write, tmp_path):
    other = tmp_path / 'other.py'
    other.touch()
    file = write('methods:\n  soft: {method: kd, a: 5}\n  at: {method: at}\ncfg_options: {a: 1, b: 2}\nmetric: x')
    study = read_study(file, other, ['none', 'soft'], [7], dict(b=3), 'y')
    assert study == Study(other, (Entry('none', 'none'), Entry('soft', 'kd', dict(a=5))), (7,), dict(a=1, b=3), 'y')


def test_a_teacher_is_trained_first_unless_its_weights_are_named(write, tmp_path):
    (tmp_path / 'big.py').touch()
    file = write('methods: [kd]\nteacher: {config: big.py, cfg_options: {train_cfg.max_epochs: 3}, seed: 5}')
    assert read_study(file).teacher == StudyTeacher(tmp_path / 'big.py', {'train_cfg.max_epochs': 3}, 5)
    assert read_study(file, options={'model.teacher.checkpoint': 'teacher.pth'}).teacher is None
    assert read_study(write('methods: [kd]\nteacher: {config: big.py}')).teacher == StudyTeacher(tmp_path / 'big.py')
    with pytest.raises(ValueError, match="'Teacher' and 'teacher' share the folder"):
        read_study(write('methods: {Teacher: {}}\nteacher: {config: big.py}'))


@pytest.mark.parametrize(
    ('teacher', 'error', 'message'),
    [
        ('big.py', ValueError, "teacher must be a mapping with config, the path of a plain config; got 'big.py'"),
        (
            '{config: big.py, epochs: 3}',
            ValueError,
            r"teacher has the keys .*, seed; got \['epochs'\]",
        ),
        ('{config: other.py}', FileNotFoundError, r'teacher\.config=.*other\.py'),
        ('{config: big.py, cfg_options: [a]}', ValueError, r'teacher\.cfg_options must be a mapping'),
        ('{config: big.py, seed: -1}', ValueError, r'teacher\.seed must be a whole number from 0 up, got -1'),
    ],
)
def test_a_teacher_that_makes_no_sense_is_named(write, tmp_path, teacher, error, message):
    (tmp_path / 'big.py').touch()
    with pytest.raises(error, match=message):
        read_study(write(f'methods: [kd]\nteacher: {teacher}'))


def test_published_figures_belong_to_labels(write):
    study = read_study(write('methods: [none, kd]\npublished: {kd: 75.92, teacher: 80}'), methods=['kd'])
    assert study.published == dict(kd='75.92', teacher='80')
    labels = 'methods:\n  1: {method: kd}\n  2: {method: at}\npublished: {1: 75.92, 2: }'
    assert read_study(write(labels)).published == {'1': '75.92'}  # of a label that YAML takes for a number
    for text, message in (
        ('published: {kdd: 3}', r'published\.kdd: there is no such label; nearest: kd'),
        ('published: [3]', 'published must be a mapping'),
    ):
        with pytest.raises(ValueError, match=message):
            read_study(write(f'methods: [none, kd]\n{text}'))


def test_flags_alone_make_a_study(tmp_path):
    (tmp_path / 'base.py').touch()
    assert read_study(None, tmp_path / 'base.py', ['kd']) == Study(tmp_path / 'base.py', (Entry('kd', 'kd'),))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('methods: [kd, at, kd]', "'kd' twice; give each a label of its own"),
        ('methods:\n  kd: {}\n  kd: {}', r"study.yml: 'kd' twice in one mapping, line 3"),
        ('methods: {a b: {}, a/b: {}}', "'a/b' and 'a b' share the folder a-b"),
        ('methods: {Mine: {}, mine: {}}', "'mine' and 'Mine' share the folder mine"),
        ('methods: ["?"]', r"label '\?' has no letter"),
        ('methods: {"a\\nb": {}}', 'must be one line'),
        ('methods: {Report.HTML: {}}', r"label 'Report.HTML'.*one of the study's files"),
        (f'methods: {{{"x" * 300}: {{}}}}', 'longer than 200 characters'),
        ('methods: []', 'methods is empty'),
        ('methods: kd', 'methods must be a list of names or a mapping'),
        ('methods: [kd, {at: {}}]', 'a list has names only'),
        ('methods: {kd: 3}', 'methods.kd must be a mapping'),
        ('methods: [kd]\nseeds: [0, 1, 0]', r'seeds must be distinct numbers, got \[0, 1, 0\]'),
        ('methods: [kd]\nseeds: []', 'seeds must be distinct'),
        ('methods: [kd]\nseeds: 3', r'seeds must be a list such as \[0, 1, 2\], got 3'),
        ('methods: [kd]\nseeds: [-1, true]', r'whole numbers from 0 up, got \[-1, True\]'),
        ('methods: [kd]\ncfg_options: [a]', 'cfg_options must be a mapping'),
        ('methods: [kd]\ncfg_options: {5: 3}', 'cfg_options must be a mapping from a key, such as model.input_shape'),
        ('methods: {soft: {5: 3}}', r'methods.soft: a key is text, such as model.input_shape; got .5.'),
        ('methods: [kd]\nmetric: 5', 'metric must be the key of a validation metric'),
        (
            'methods: [kd]\nseed: 3',
            r"keys config, methods, .*, published; got \['seed'\]",
        ),
        ('methods: [kd', 'study.yml: while parsing'),
    ],
)
def test_what_is_wrong_is_named(write, text, message):
    with pytest.raises(ValueError, match=message):
        read_study(write(text))


def test_a_missing_file_or_config_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the study '.*none\.yml' does not exist; looked for in"):
        read_study(tmp_path / 'none.yml')
    with pytest.raises(FileNotFoundError, match=r"config='.*nowhere\.py' does not exist; looked for in"):
        read_study(None, tmp_path / 'nowhere.py', ['kd'])
    with pytest.raises(ValueError, match='config is missing: name the base'):
        read_study(None, None, ['kd'])


def test_a_name_is_no_file(write):
    with pytest.raises(ValueError, match=r"config='ovkd_mm::a\.py' is a name, not a file: write one with _base_ = "):
        read_study(config='ovkd_mm::a.py', methods=['kd'])


def test_keys_of_any_type_are_told(write):
    with pytest.raises(ValueError, match=r"got \[1, 'foo'\]"):
        read_study(write('methods: [kd]\n1: 2\nfoo: 3'))


def test_a_label_that_is_mistyped_is_answered_with_the_nearest_labels_and_methods(write):
    file = write('methods: {pre-ReLU: {method: ofd}}')
    assert read_study(file, methods=['pre-ReLU', 'none', 'ofd+kd']).entries[0].method == 'ofd'
    with pytest.raises(ValueError, match=r'--methods pre-relu: neither a label of .* nor a method; nearest: pre-ReLU'):
        read_study(file, methods=['pre-relu'])


@pytest.mark.parametrize('label', ['kd', 'ofd+kd', 'none', 'none+kd'])
def test_a_label_that_is_a_methods_name_says_which_method_it_is(write, label):
    with pytest.raises(ValueError, match=rf'methods\.{re.escape(label)}: .* add method: {re.escape(label)}, or'):
        read_study(write(f'methods: {{{label}: {{train_cfg.max_epochs: 2}}}}'))
    (entry,) = read_study(write(f'methods: {{{label}: {{method: ofd}}}}')).entries
    assert (entry.label, entry.method) == (label, 'ofd')


def test_several_methods_of_an_entry_are_written_with_a_plus(write):
    with pytest.raises(ValueError, match=r'methods\.both\.method must be a name, or several with a \+ \(ofd\+kd\)'):
        read_study(write('methods: {both: {method: [ofd, kd]}}'))


def test_rows_that_differ_in_one_setting_may_be_merged_from_each_other(write):
    study = read_study(write('methods:\n  a: &a {method: kd, model.x: 2}\n  b: {<<: *a, model.y: 3}'))
    assert study.entries[1] == Entry('b', 'kd', {'model.x': 2, 'model.y': 3})


def test_an_empty_config_is_a_missing_one(tmp_path):
    (tmp_path / 'study.yml').write_text('config:\nmethods: [kd]')
    with pytest.raises(ValueError, match='config is missing'):
        read_study(tmp_path / 'study.yml')
