import copy

import pytest
import torch
from mmengine.registry import MODELS
from toy import batch

from ovkd_mm.distillers.student_facade import StudentFacade


class Facade(StudentFacade):
    def forward(self, *args, **kwargs):
        return self.student(*args, **kwargs)


@pytest.fixture
def facade() -> StudentFacade:
    torch.manual_seed(0)
    one = Facade(dict(type='ToyClassifier'))
    one.extra = torch.nn.Linear(2, 2)
    return one


def test_its_keys_are_the_plain_students_and_the_rest_lie_under_a_prefix(facade):
    plain = MODELS.build(dict(type='ToyClassifier')).state_dict()
    own = facade.state_dict()
    assert list(own)[: len(plain)] == list(plain)
    assert set(own) - set(plain) == {'distiller.extra.weight', 'distiller.extra.bias'}
    other = copy.deepcopy(facade)
    for weight in other.parameters():
        torch.nn.init.zeros_(weight)
    other.load_state_dict(own)
    assert all(torch.equal(value, own[key]) for key, value in other.state_dict().items())


def test_what_it_does_not_have_is_the_students(facade):
    assert facade.fc is facade.student.fc
    assert facade.data_preprocessor is facade.student.data_preprocessor
    with pytest.raises(AttributeError, match='ToyClassifier'):
        _ = facade.nothing


def test_it_tests_and_validates_as_the_student(facade):
    data = dict(zip(('inputs', 'data_samples'), batch(), strict=True))
    facade.eval()
    expected = facade.student.test_step(data)
    assert torch.equal(facade.test_step(data), expected)
    assert torch.equal(facade.val_step(data), expected)


def test_the_log_shows_the_whole_where_the_task_s_loss_is_called_loss(facade):
    losses = dict(loss=torch.tensor(2.0), loss_more=torch.tensor(3.0), accuracy=torch.tensor(9.0))
    total, log = facade.parse_losses(losses)
    assert total == 5
    assert {name: value.item() for name, value in log.items()} == dict(loss=5, loss_task=2, loss_more=3, accuracy=9)
    total, log = facade.parse_losses(dict(loss_cls=torch.tensor(2.0), loss_more=torch.tensor(3.0)))
    assert {name: value.item() for name, value in log.items()} == dict(loss=5, loss_cls=2, loss_more=3)
