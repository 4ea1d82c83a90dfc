import copy

import pytest
import torch
from mmengine.registry import MODELS
from mmengine.runner.checkpoint import get_state_dict
from toy import ToyClassifier, batch, distiller_config

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


@pytest.mark.parametrize('read', [torch.nn.Module.state_dict, get_state_dict])
def test_a_student_that_renames_its_own_keys_has_these_too(read):
    config = dict(type='mmpretrain.TimmClassifier', model_name='resnet10t', num_classes=3)
    plain = read(MODELS.build(config))
    assert 'conv1.0.weight' in plain
    facade = Facade(config)
    facade.extra = torch.nn.Linear(2, 2)
    own = read(facade)
    assert list(own)[: len(plain)] == list(plain)
    assert own['distiller.extra.weight'] is not None
    other = Facade(config)
    other.extra = torch.nn.Linear(2, 2)
    other.load_state_dict(own)
    assert all(torch.equal(value, own[key]) for key, value in read(other).items())
    facade.load_state_dict(plain, strict=False)
    assert all(torch.equal(read(facade)[key], value) for key, value in plain.items())


def test_what_a_hook_loads_by_the_names_of_the_module_tree_arrives(facade):
    norms = {name: torch.full_like(value, 3) for name, value in facade.named_buffers() if name.endswith('running_var')}
    assert facade.load_state_dict(norms, strict=False).unexpected_keys == []
    assert all(torch.equal(value, norms[name]) for name, value in facade.named_buffers() if name in norms)


def test_a_students_own_child_of_that_name_has_its_stock_keys():
    class Nested(Facade):
        def __init__(self):
            super().__init__(dict(type='ToyClassifier'))
            self.student.student = torch.nn.Linear(2, 2)

    nested = Nested()
    state = nested.state_dict()
    assert {'student.weight', 'fc.weight'} < set(state)
    state['student.weight'] = torch.ones(2, 2)
    nested.load_state_dict(state)
    assert torch.equal(nested.student.student.weight, torch.ones(2, 2))


def test_seen_as_the_student_it_has_the_names_of_a_checkpoint(facade):
    facade.register_parameter('flat', torch.nn.Parameter(torch.ones(1)))  # as FSDP does
    view = facade.as_student()
    assert type(view) is type(facade.student)
    named = dict(view.named_parameters())
    state = facade.state_dict(keep_vars=True)
    assert named.keys() == {key for key, value in state.items() if isinstance(value, torch.nn.Parameter)}
    assert all(value is state[name] for name, value in named.items())


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


def test_a_distillation_as_student_is_refused_as_its_checkpoint_could_not_be_loaded():
    with pytest.raises(ValueError, match=r'model\.student is a FeatureDistiller itself.* list them in method'):
        MODELS.build(distiller_config(student=distiller_config()))


@MODELS.register_module()
class StepsItself(ToyClassifier):
    """A student that does more in a step than mmengine."""

    def train_step(self, data, optim_wrapper):
        return super().train_step(data, optim_wrapper)


def test_a_student_with_a_train_step_of_its_own_is_refused_as_it_would_not_be_run():
    with pytest.raises(ValueError, match=r'model\.student: StepsItself has a train_step of its own'):
        MODELS.build(distiller_config(student=dict(type='StepsItself')))
