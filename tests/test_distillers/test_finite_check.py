import copy

import pytest
import torch

from ovkd_mm.distillers.finite_check import FiniteCheck
from ovkd_mm.positions import Place

NAN, ONE = torch.tensor(float('nan')), torch.ones(2)


def place(name):
    return Place(name, name, 0, 'output', (2,), None, False)


@pytest.mark.parametrize('features', [[ONE, ONE * NAN], [ONE, (ONE, ONE * NAN)], [ONE, ONE / 0]])
def test_the_first_feature_that_is_not_finite_is_named(features):
    with pytest.raises(ValueError, match=r'teacher feature at second .* is NaN or infinite'):
        FiniteCheck().ask(NAN, [place('first'), place('second')], lambda: features)


def test_finite_features_are_no_reason_for_an_error():
    FiniteCheck().ask(NAN, [place('first')], lambda: [ONE])


def test_features_are_not_looked_at_where_the_loss_is_finite():
    FiniteCheck().ask(torch.tensor(1.0), [place('first')], lambda: pytest.fail('the teacher has run again'))


def test_a_copy_has_asked_for_nothing():
    check = FiniteCheck()
    check._pending = torch.tensor(False), None, [place('first')], lambda: [ONE * NAN]
    copy.deepcopy(check).read()
    with pytest.raises(ValueError, match='first'):
        check.read()
    check.read()  # said once
