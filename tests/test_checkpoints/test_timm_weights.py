import sys

import pytest
import torch
from mmengine.runner import CheckpointLoader

timm = pytest.importorskip('timm', reason='timm is not installed')


def load(name):
    return CheckpointLoader.load_checkpoint(name)


def test_wrong_weights_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"'timm://mobilenetv1_10' *: timm has no such weights; nearest: mobilenetv"):
        load('timm://mobilenetv1_10')


def test_a_name_without_a_tag_stands_for_its_default_and_the_random_state_stays(monkeypatch):
    net = timm.create_model('mobilenetv1_100')
    monkeypatch.setattr('timm.create_model', lambda name, pretrained: torch.rand(1) is not None and net)
    state = torch.get_rng_state()
    assert load('timm://mobilenetv1_100').keys() == net.state_dict().keys()
    assert torch.equal(torch.get_rng_state(), state)


def test_without_timm_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(ValueError, match=r"checkpoint 'timm://resnet18' needs timm: pip install timm"):
        load('timm://resnet18')


def test_without_a_network_a_connection_is_missing(monkeypatch):
    def unreachable(*_, **__):
        raise FileNotFoundError('no network')  # as huggingface_hub says it

    monkeypatch.setattr('timm.create_model', unreachable)
    with pytest.raises(ConnectionError, match='no network'):
        load('timm://resnet18')
