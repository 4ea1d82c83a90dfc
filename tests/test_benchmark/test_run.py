import pytest
import torch
import toy
from mmengine.config import Config

from ovkd_mm.benchmark import Benchmark, benchmark, steps, with_last_pairs
from ovkd_mm.benchmark.timing import Times


def times(**medians):
    return {name: Times([median]) for name, median in medians.items()}


def test_the_limit_is_student_teacher_and_convolutions():
    one = Benchmark(
        8, (32, 32), 4, times(student=3.0, teacher=2.0, connectors=1.0, pairs=50.0, distilled=9.0), (8, 4, 2, 2), {}
    )
    assert one.limit == 6
    assert one.ratio == 1.5
    assert one.images_per_second == pytest.approx(8 / 9)


def test_parts_and_operation_are_measured_on_the_largest_feature(monkeypatch):
    def made(toolkit, count, size, classes):
        images, labels = toy.batch(count)
        return dict(inputs=list(images), data_samples=labels)

    monkeypatch.setattr(steps, 'random_batch', made)
    config = Config(dict(model=toy.distiller_config(), optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1))))
    before = config.to_dict()
    one = benchmark(config, 2, (16, 16), torch.device('cpu'), False, rounds=4)
    assert set(one.times) == {'student', 'teacher', 'connectors', 'pairs', 'distilled'}
    assert all(
        len(part.seconds) == 4 and min(part.seconds) > 0 for part in (*one.times.values(), *one.operation.values())
    )
    assert one.feature == (2, 6, 8, 8)
    assert 'loss, in one operation' in one.operation
    assert (one.batch_size, one.size, one.pairs) == (2, (16, 16), len(config.model.pairs))
    assert config.to_dict() == before


def test_the_last_pairs_are_kept_of_a_copy():
    config = Config(dict(model=toy.distiller_config()))
    before = config.to_dict()
    assert with_last_pairs(config, 1).model.pairs == config.model.pairs[-1:]
    assert config.to_dict() == before


@pytest.mark.parametrize('count', [0, 3])
def test_more_pairs_than_there_are_or_none_are_an_error(count):
    with pytest.raises(ValueError, match=f'--pairs {count}: the config lists 2 pairs'):
        with_last_pairs(Config(dict(model=toy.distiller_config())), count)


def test_pairs_that_are_not_listed_cannot_be_counted():
    with pytest.raises(ValueError, match=r"model.pairs='auto' lists none; tools/positions.py"):
        with_last_pairs(Config(dict(model=toy.distiller_config(pairs='auto'))), 1)
