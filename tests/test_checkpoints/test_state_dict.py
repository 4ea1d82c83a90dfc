import pytest
import torch
from torch import nn

from ovkd_mm.checkpoints.state_dict import load_strictly, model_weights


def net():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def test_fitting_weights_are_loaded():
    one, two = net(), net()
    load_strictly(one, two.state_dict(), 'here')
    assert torch.equal(one[0].weight, two[0].weight)


@pytest.mark.parametrize('key', ['state_dict', 'model', None])
@pytest.mark.parametrize('wrapper', ['', 'module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.'])
def test_weights_are_found_under_the_usual_keys_and_without_their_wrappers(key, wrapper):
    state = net().state_dict()
    wrapped = {f'{wrapper}{name}': value for name, value in state.items()}
    found = model_weights(wrapped if key is None else {key: wrapped, 'epoch': 3, 'args': dict(lr=1)})
    assert found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)


def test_missing_unexpected_and_reshaped_keys_are_counted_and_named():
    state = net().state_dict()
    del state['1.bias']
    state['2.weight'] = torch.zeros(1)
    state['0.weight'] = torch.zeros(5, 3, 1, 1)
    with pytest.raises(
        ValueError, match=r'here .*5 of 7 .*1 missing: 1\.bias; 1 unexpected: 2\.weight; 1 of another shape'
    ):
        load_strictly(net(), state, 'here')


def test_batch_counters_that_old_checkpoints_lack_are_no_misfit():
    state = net().state_dict()
    del state['1.num_batches_tracked']
    load_strictly(net(), state, 'here')


def test_keys_that_a_module_renames_while_loading_are_no_misfit():
    class Renamed(nn.Linear):
        def _load_from_state_dict(self, state_dict, prefix, *args):
            if prefix + 'old' in state_dict:
                state_dict[prefix + 'weight'] = state_dict.pop(prefix + 'old')
            super()._load_from_state_dict(state_dict, prefix, *args)

    load_strictly(Renamed(2, 2), dict(old=torch.ones(2, 2), bias=torch.ones(2)), 'here')


def test_weights_are_taken_with_and_without_an_envelope_and_without_what_only_served_training():
    weights = {'a.weight': torch.ones(1), 'distiller.pairs.0.margin': torch.ones(1)}
    wrapped = {f'module.{key}': value for key, value in weights.items()}
    for checkpoint in (weights, dict(state_dict=weights, meta={}), dict(state_dict=wrapped)):
        assert list(model_weights(checkpoint)) == ['a.weight']


def test_an_extra_state_that_is_no_tensor_is_loaded_too():
    class Counts(nn.Linear):
        def get_extra_state(self):
            return dict(count=self.count)

        def set_extra_state(self, state):
            self.count = state['count']

    one, two = Counts(2, 2), Counts(2, 2)
    one.count, two.count = 3, 5
    load_strictly(one, two.state_dict(), 'here')
    assert one.count == 5


class Versioned(nn.Linear):
    """Tells old checkpoints by their version, as torchvision's MNASNet does."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
        if local_metadata.get('version') != 2:
            raise ValueError('too old')
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


@pytest.mark.parametrize('wrapper', ['', 'module.'])
def test_the_versions_of_modules_go_with_their_weights_and_stay_the_files_own(wrapper):
    state = nn.ModuleDict(dict(module=nn.Sequential(Versioned(2, 3)))).state_dict() if wrapper else None
    state = state or nn.Sequential(Versioned(2, 3)).state_dict()
    before = dict(state._metadata)
    load_strictly(nn.Sequential(Versioned(2, 3)), model_weights(dict(state_dict=state)), 'here')
    assert state._metadata == before
