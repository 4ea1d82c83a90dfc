import pytest
from mmengine.config import Config
from toy import PAIRS, distiller_config

from ovkd_mm.compare.configs import entry_config, read_base
from ovkd_mm.compare.study import Study
from ovkd_mm.tune import Space, space_of


def test_an_entry_sets_the_share_and_drops_the_first_pairs():
    space = Space(('ofd', 'at', 'kd'), (dict(student='a'), dict(student='b'), dict(student='c')))
    whole = space.entry('ofd', 3, share=2.0)
    assert (whole.label, whole.method) == ('ofd, share 2, 3 pairs', 'ofd')
    assert whole.options == {'model.method.loss.loss_weight.share': 2.0}
    assert space.entry('at', 1, share=0.1).options['model.pairs'] == [dict(student='c')]
    assert space.default('ofd') == dict(method='ofd', share=3.0, pairs=3)
    assert space.entry(**space.default('ofd')) == space.entry('ofd', 3, share=3.0)
    assert space.kept(space.default('ofd')) == '3 of 3'


def test_a_method_on_class_scores_has_no_pairs_to_choose_from():
    class Trial:
        def suggest_categorical(self, name, choices):
            return 'kd'

        def suggest_float(self, name, low, high, log):
            return 2.0

    space = Space(('kd',), ({}, {}))
    entry = space.suggest(Trial())
    assert entry.label == 'kd, share 2' and 'model.pairs' not in entry.options
    assert space.default('kd') == dict(method='kd', share=3.0)
    assert space.kept(space.default('kd')) == '-'


def test_methods_that_add_up_have_a_share_each_and_share_the_pairs(tmp_path):
    class Trial:
        def suggest_categorical(self, name, choices):
            return 'ofd+kd'

        def suggest_float(self, name, low, high, log):
            return dict(share=2.0, share_2=0.51239)[name]

        def suggest_int(self, name, low, high):
            return 1

    Config(dict(model=distiller_config(pairs=PAIRS))).dump(tmp_path / 'base.py')
    base = read_base(tmp_path / 'base.py')
    base.model.teacher.pop('checkpoint', None)
    space = space_of(tmp_path / 'base.py', {}, base, ['ofd+kd'])
    entry = space.suggest(Trial())
    assert entry.label == 'ofd+kd, share 2+0.512, 1 pairs'
    config = entry_config(base, Study(tmp_path / 'base.py', (entry,)), entry)
    assert [method.loss.loss_weight.share for method in config.model.method] == [2.0, 0.512]
    assert [method.loss.type for method in config.model.method] == ['ovkd_mm.PartialL2Loss', 'ovkd_mm.KDLoss']
    assert [pair.student for pair in config.model.pairs] == ['backbone.layer2']
    assert space.default('ofd+kd') == dict(method='ofd+kd', share=3.0, share_2=3.0, pairs=2)
    assert space.entry(**space.default('ofd+kd')).label == 'ofd+kd, share 3+3, 2 pairs'
    with pytest.raises(ValueError, match="unknown method 'kdd'; nearest: kd"):
        space_of(tmp_path / 'base.py', {}, base, ['ofd+kdd'])


def test_a_trial_asks_for_method_share_and_number_of_pairs():
    class Trial:
        def suggest_categorical(self, name, choices):
            assert (name, choices) == ('method', ('ofd',))
            return 'ofd'

        def suggest_float(self, name, low, high, log):
            assert (name, low, high, log) == ('share', 0.1, 10.0, True)
            return 0.123456

        def suggest_int(self, name, low, high):
            assert (name, low, high) == ('pairs', 1, 2)
            return 2

    entry = Space(('ofd',), ({}, {})).suggest(Trial())
    assert entry.label == 'ofd, share 0.123, 2 pairs'
    assert entry.options['model.method.loss.loss_weight.share'] == 0.123  # as its folder says


def test_the_pairs_are_the_configs_or_what_auto_finds(tmp_path):
    for pairs in (PAIRS, 'auto'):
        Config(dict(model=distiller_config(pairs=pairs))).dump(tmp_path / 'base.py')
        space = space_of(tmp_path / 'base.py', {}, read_base(tmp_path / 'base.py'), ['ofd'])
        assert [pair['student'] for pair in space.pairs] == ['backbone.layer1', 'backbone.layer2']
    with pytest.raises(ValueError, match=r'model\.pairs must be .* to choose from, got 3'):
        space_of(tmp_path / 'base.py', {}, Config(dict(model=dict(pairs=3))), ['ofd'])
    assert space_of(tmp_path / 'base.py', {}, Config(dict(model=dict(pairs=[]))), ['kd']).pairs == ()
    with pytest.raises(ValueError, match="unknown method 'odf'; nearest: ofd"):
        space_of(tmp_path / 'base.py', {}, read_base(tmp_path / 'base.py'), ['odf'])
