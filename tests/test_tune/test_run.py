"""The search, with trainings that only pretend."""

import json
import math
import os
import re
import shlex
import shutil
import signal

import pytest
from mmengine.config import Config
from toy import distiller_config

from ovkd_mm.compare.study import read_study
from ovkd_mm.compare.training import Training
from ovkd_mm.tune import run as tune_run
from ovkd_mm.tune import tune

optuna = pytest.importorskip('optuna')


@pytest.fixture
def search(tmp_path, monkeypatch):
    """Tune with trainings that log ``value`` at each validation, or fail where there is none.

    Returns the table, what was begun and what was trained to its end; ``search.trainings`` are those of the last call.
    """
    model = distiller_config()
    model['teacher']['checkpoint'] = str(tmp_path / 'teacher.pth')
    (tmp_path / 'teacher.pth').write_bytes(b'weights')
    config = dict(
        model=model,
        train_cfg=dict(by_epoch=True, max_epochs=80),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best='accuracy', rule='greater')),
    )
    Config(config).dump(tmp_path / 'base.py')

    def search(value, trials=6, quiet=False, **changes):
        begun, ended, search.trainings, search.checked = [], [], [], []

        def check(trainings, metric, console):
            search.checked += [training.label for training in trainings]
            if metric == 'wrong':
                raise ValueError('nothing is trained, since there is no metric wrong')

        def train(self, tool, facts, metric, progress, lock):
            begun.append(self.label)
            search.trainings.append(self)
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(state='started', recipe=self.recipe)
            log = self.folder / '20250101_000000/vis_data'
            log.mkdir(parents=True, exist_ok=True)
            share = self.config.model.method.loss.loss_weight.share
            lines = []
            schedule = self.config.train_cfg
            for rung in range(1, math.ceil(schedule.max_epochs / schedule.val_interval) + 1):
                if (accuracy := value(share, rung)) is None:
                    self._write(state='failed', reason='no luck')
                    return
                lines.append(dict(step=10 * rung, epoch=rung * schedule.val_interval, loss=1.0, time=0.5))
                lines += [] if accuracy == 'lost' else [dict(step=10 * rung, accuracy=accuracy)]
                (log / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
                if not quiet:
                    progress('on the way')
            ended.append(self.label)
            self._write(state='finished', reason=None)

        monkeypatch.setattr(Training, 'run', train)
        monkeypatch.setattr(tune_run, 'check_trainings', check)
        settings = dict(methods=['ofd'], trials=trials, part=0.25) | changes
        table = tune(
            tmp_path / 'base.py',
            settings.pop('work_dir', tmp_path / 'work'),
            **settings,
        )
        return table, begun, ended

    return search


def near_one(share, rung):
    """Best at a share of 1, and the better the longer."""
    return 50 - abs(share - 1) + rung


def test_the_best_come_first_and_the_worse_end_early(search, tmp_path):
    table, begun, ended = search(near_one, trials=12)
    assert (tmp_path / 'work' / 'table.md').read_text() == table
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in table.splitlines()[2:-2]]
    assert len(rows) == 12 and len(ended) < len(begun)
    whole = [row for row in rows if row[4] == 'all']
    assert whole == rows[: len(whole)] and len(whole) == len(ended)
    assert [float(row[3]) for row in whole] == sorted((float(row[3]) for row in whole), reverse=True)
    assert all(row[4].startswith('ended after') for row in rows[len(whole) :])
    assert '25% of the schedule' in table


def test_the_best_are_a_study_that_the_table_says_how_to_train(search, tmp_path):
    table, _, _ = search(near_one, trials=6, options={'randomness.seed': 5})
    (tmp_path / 'work/best.yml').unlink()
    assert search(near_one, trials=6, options={'randomness.seed': 5}) == (table, [], [])
    (command,) = re.findall('`(python tools/compare.py .*)`', table)
    assert shlex.split(command)[2:] == [str(tmp_path / 'work/best.yml'), '--work-dir', str(tmp_path / 'work/best')]
    study = read_study(tmp_path / 'work/best.yml')
    assert (study.config, study.metric, study.options) == (tmp_path / 'base.py', 'accuracy', {'randomness.seed': 5})
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in table.splitlines()[2:-2]]
    for found, row in zip(study.entries[1:], rows, strict=False):
        assert found.label == f'{row[0]}, share {row[1]}, {row[2].split()[0]} pairs'
        assert found.options['model.method.loss.loss_weight.share'] == float(row[1])
        assert len(found.options.get('model.pairs', '12')) == int(row[2].split()[0])
    assert len(study.entries) == 4


def test_what_failed_is_not_among_the_best(search, tmp_path):
    for _ in range(2):
        try:
            search(lambda share, rung: None if share == 3 else near_one(share, rung), trials=2)
        except ValueError:
            continue
    assert [one.label.split(',')[0] for one in read_study(tmp_path / 'work/best.yml').entries] == ['alone', 'ofd']
    assert 'ofd, share 3,' not in (tmp_path / 'work/best.yml').read_text()


@pytest.mark.parametrize(('part', 'validations'), [(1 / 80, 1), (3 / 80, 3), (5 / 80, 3), (0.25, 4)])
def test_a_short_part_has_fewer_validations_and_none_ends_at_the_last(search, part, validations):
    table, _, ended = search(lambda share, rung: 50 - rung * len(search.trainings), trials=4, part=part)
    rows = [line.split('|')[5].strip() for line in table.splitlines()[2:-2]]
    assert rows[0] == 'all' and set(rows[1:]) <= {
        'all',
        *(f'ended after {n} of {validations} validations' for n in (1, 2)),
    }
    assert rows.count('all') == len(ended)
    if validations == 1:
        assert len(ended) == 4
    assert f'{100 * part:.3g}% of the schedule' in table


def test_the_methods_are_built_and_the_metric_looked_for_before_anything_is_written(search, tmp_path):
    search(near_one, trials=2, methods=['at', 'kd'])
    assert search.checked == ['at, share 3, 2 pairs', 'kd, share 3']
    shutil.rmtree(tmp_path / 'work')
    with pytest.raises(ValueError, match='there is no metric wrong'):
        search(near_one, trials=1, metric='wrong')
    assert not (tmp_path / 'work').exists()


def test_each_method_is_tried_by_default_before_anything_is_proposed(search):
    table, begun, _ = search(near_one, trials=3, methods=['at', 'ofd'])
    assert begun[:2] == ['at, share 3, 2 pairs', 'ofd, share 3, 2 pairs']
    assert begun[2] not in begun[:2]
    assert '| at |' in table and '| ofd |' in table


def test_the_same_call_does_nothing_again_and_one_with_more_trials_goes_on(search):
    first, begun, _ = search(near_one, trials=3)
    again, nothing, _ = search(near_one, trials=3)
    assert (len(begun), again, nothing) == (3, first, [])
    _, more, _ = search(near_one, trials=5)
    assert len(more) == 2 and not set(more) & set(begun)


def test_a_trial_that_was_cut_off_is_taken_up_by_the_next_call(search):
    def cut(share, rung):
        if rung == 3:
            raise KeyboardInterrupt
        return near_one(share, rung)

    with pytest.raises(KeyboardInterrupt):
        search(cut, trials=1)
    table, begun, ended = search(near_one, trials=1)
    assert len(begun) == len(ended) == 1
    assert table.count('| ofd |') == 1


def test_a_validation_in_which_a_training_was_stopped_leaves_the_others_their_numbers(search, tmp_path):
    search(lambda share, rung: 'lost' if rung == 1 else near_one(share, rung), trials=1)
    stored = optuna.load_study(study_name='tune', storage=f'sqlite:///{tmp_path / "work" / "trials.db"}')
    assert list(stored.trials[0].intermediate_values) == [2, 3, 4]


def test_a_training_that_ended_before_anyone_looked_is_whole(search):
    table, _, ended = search(near_one, trials=6, quiet=True)
    assert len(ended) == 6 and table.count('| all |') == 6 and 'ended after' not in table


def test_a_search_that_is_told_to_end_raises_so_that_its_training_ends_too(search):
    def told_to_end(share, rung):
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit, match='143'):
        search(told_to_end)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_metric_of_which_less_is_better_is_minimized(search, tmp_path):
    config = Config.fromfile(tmp_path / 'base.py')
    config.default_hooks.checkpoint.rule = 'less'
    config.dump(tmp_path / 'base.py')
    table, _, _ = search(lambda share, rung: abs(share - 1), trials=8)
    shares = [float(line.split('|')[2]) for line in table.splitlines()[2:-2] if '| all |' in line]
    assert shares == sorted(shares, key=lambda share: abs(share - 1))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(part=0), r'--part must be above 0 and at most 1, got 0'),
        (dict(methods=['odf']), "unknown method 'odf'; nearest: ofd"),
    ],
)
def test_what_makes_no_sense_is_named(search, changes, message):
    with pytest.raises(ValueError, match=message):
        search(near_one, **changes)


def test_a_training_that_fails_ends_the_search_and_says_why(search):
    with pytest.raises(ValueError, match=r'ofd, share .* failed: no luck \(all of it in'):
        search(lambda share, rung: None)


def test_a_trial_of_ab_comes_to_learn_the_task(search):
    search(near_one, trials=1, methods=['ab'])
    (training,) = search.trainings
    assert training.config.model.method.hooks[0].epochs < training.config.train_cfg.max_epochs / 2


def test_a_trial_that_fails_twice_is_left_behind_and_the_search_goes_on(search):
    shares = []

    def unlucky(share, rung):
        shares.append(share)
        return None if share == shares[0] else near_one(share, rung)

    with pytest.raises(ValueError, match='failed: no luck'):
        search(unlucky, trials=3)
    table, begun, _ = search(unlucky, trials=3)
    assert len(begun) == 3 and table.count('| ofd |') == 3
    (row,) = [line for line in table.splitlines() if 'failed: no luck' in line]
    assert row == table.splitlines()[4] and '| - |' in row  # the last


@pytest.mark.parametrize('changed', ['metric', 'config', 'teacher'])
def test_a_search_of_another_metric_config_or_teacher_is_another_search(search, tmp_path, changed):
    search(near_one, trials=1)
    settings = {}
    if changed == 'metric':
        settings = dict(metric='recall')
    elif changed == 'teacher':
        (tmp_path / 'teacher.pth').write_bytes(b'other weights')
    else:
        config = Config.fromfile(tmp_path / 'base.py')
        config.train_cfg.max_epochs = 40
        config.dump(tmp_path / 'base.py')
    what = dict(metric='metric=accuracy', config='content=', teacher='teacher=')[changed]
    with pytest.raises(ValueError, match=f'holds a study with {what}'):
        search(near_one, trials=2, **settings)


def test_settings_of_pairs_stay_in_trials_that_leave_pairs_out(search, tmp_path):
    search(near_one, trials=8, options={'model.pairs.1.weight': 5.0})
    pairs = [training.config.model.pairs for training in search.trainings]
    assert {len(some) for some in pairs} == {1, 2} and all(some[-1].weight == 5.0 for some in pairs)
    assert len({training.file for training in search.trainings}) == 8


def test_a_search_that_could_not_try_each_method_is_refused(search):
    with pytest.raises(ValueError, match='--trials 2: each of the 3 methods is tried at least once'):
        search(near_one, trials=2, methods=['at', 'kd', 'ofd'])


def test_a_search_ends_where_the_metric_is_no_number(search, tmp_path):
    table, begun, _ = search(lambda share, rung: math.nan, trials=2)
    assert len(begun) == 2 and table.count('failed: accuracy is nan') == 2
    assert [one.label for one in read_study(tmp_path / 'work/best.yml').entries] == ['alone']


def test_a_work_dir_in_which_the_data_base_cannot_lie_is_refused(search, tmp_path):
    with pytest.raises(ValueError, match='cannot lie below a name with a'):
        search(near_one, trials=1, work_dir=tmp_path / 'a?b')
    assert not (tmp_path / 'a').exists() and not (tmp_path / 'a?b').exists()
