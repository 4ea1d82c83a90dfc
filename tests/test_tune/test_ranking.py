import math
from types import SimpleNamespace

import pytest

from ovkd_mm.compare.results import Metric
from ovkd_mm.tune import Space
from ovkd_mm.tune.ranking import ranked, table


def test_no_trial_that_ended_early_stands_above_a_whole_one_and_the_better_come_first(tmp_path):
    optuna = pytest.importorskip('optuna')
    study = optuna.create_study(direction='minimize')
    params = dict(method='ofd', share=1.0, pairs=1)
    kinds = dict(
        method=optuna.distributions.CategoricalDistribution(['ofd']),
        share=optuna.distributions.FloatDistribution(0.1, 10),
        pairs=optuna.distributions.IntDistribution(1, 1),
    )
    for state, values in (('PRUNED', {1: 0.1}), ('COMPLETE', {1: 0.9, 4: 0.7}), ('COMPLETE', {1: 0.9, 4: 0.5})):
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState[state],
                params=params,
                distributions=kinds,
                intermediate_values=values,
                value=values.get(4, values[1]),
            )
        )
    space, metric = Space(('ofd',), ({},)), Metric('loss', less_is_better=True)
    rows = table(ranked(study.trials, metric), space, metric, 0.5, 4, tmp_path).splitlines()[2:5]
    assert [row.split('|')[4].strip() for row in rows] == ['0.5', '0.7', '0.1']


def test_a_value_that_is_no_number_is_the_worst():
    values = (0.5, math.nan, 0.9, math.inf)
    trials = [SimpleNamespace(intermediate_values={1: value}) for value in values]
    for less, best in ((False, 0.9), (True, 0.5)):
        order = [trial.intermediate_values[1] for trial in ranked(trials, Metric('loss', less_is_better=less))]
        assert order[0] == best and not any(map(math.isfinite, order[2:]))
