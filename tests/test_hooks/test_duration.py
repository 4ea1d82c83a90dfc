from types import SimpleNamespace

import pytest

from ovkd_mm.hooks.duration import Duration

RUNNER = SimpleNamespace(train_dataloader=range(7))


def test_epochs_are_passes_over_the_training_set_and_iterations_are_themselves():
    assert Duration('A', epochs=3, iters=None).in_iters(RUNNER) == 21
    assert Duration('A', epochs=None, iters=3).in_iters(RUNNER) == 3
    assert Duration('A', epochs=0, iters=None).in_iters(RUNNER) == 0


@pytest.mark.parametrize('wrong', [(None, None), (1, 1), (-1, None), (None, -1)])
def test_wrong_lengths_are_errors_that_name_the_hook(wrong):
    with pytest.raises(ValueError, match='SomeHook needs either epochs or iters, from 0 up; got epochs='):
        Duration('SomeHook', *wrong)
