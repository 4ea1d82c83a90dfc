from ovkd_mm.nearest import nearest


def test_a_mistyped_name_is_answered_with_the_nearest_ones_whatever_their_case():
    assert nearest('mIuO', ['aAcc', 'mIoU']) == '; nearest: mIoU'
    assert nearest('sgd', ['Adam', 'SGD']) == '; nearest: SGD'


def test_where_none_is_near_all_are_named_if_they_are_few():
    assert nearest('x', ['alpha', 'beta']) == '; it is none of alpha, beta'
    assert nearest('x', []) == ''
    assert nearest('x', map(str, range(100, 200))) == ''
