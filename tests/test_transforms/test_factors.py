import copy

import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from ovkd_mm.transforms import Paraphraser, Translator


def kinds(layers):
    return [type(layer) for layer in layers]


def test_the_networks_are_those_of_the_paper():
    paraphraser, translator = Paraphraser(8, rate=0.5), Translator(6, 8, rate=0.5)
    block = [nn.BatchNorm2d, nn.LeakyReLU]
    assert kinds(paraphraser.encoder) == kinds(translator.encoder) == 3 * [nn.Conv2d, *block]
    assert kinds(paraphraser.decoder) == 3 * [nn.ConvTranspose2d, *block]
    channels = [
        [(layer.in_channels, layer.out_channels) for layer in layers if hasattr(layer, 'in_channels')]
        for layers in (paraphraser.encoder, paraphraser.decoder, translator.encoder)
    ]
    assert channels == [[(8, 8), (8, 4), (4, 4)], [(4, 4), (4, 8), (8, 8)], [(6, 6), (6, 4), (4, 4)]]


def trained(channels=4):
    paraphraser = Paraphraser(channels)
    paraphraser.requires_grad_()
    paraphraser.reconstruction_loss(torch.randn(4, channels, 5, 5)).backward()
    paraphraser.finish_training()
    return paraphraser


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_the_feature_of_a_teacher_in_half_precision_has_a_code(dtype):
    paraphraser, feature = trained(), torch.randn(2, 4, 5, 5).to(dtype)
    torch.testing.assert_close(paraphraser(feature), paraphraser(feature.float()))


def test_codes_of_teacher_and_student_have_one_shape():
    paraphraser = trained(6)
    assert paraphraser(torch.randn(2, 6, 5, 5)).shape == (2, 3, 5, 5)
    assert Translator(4, 6)(torch.randn(2, 4, 5, 5)).shape == (2, 3, 5, 5)


def test_the_reconstruction_loss_is_the_mean_squared_error():
    paraphraser, feature = Paraphraser(4).eval(), torch.randn(2, 4, 5, 5)
    rebuilt = paraphraser.decoder(paraphraser.encoder(feature))
    expected = ((rebuilt - feature) ** 2).sum() / feature.numel()
    torch.testing.assert_close(paraphraser.reconstruction_loss(feature), expected)


def test_an_untrained_paraphraser_is_an_error():
    with pytest.raises(ValueError, match=r'not trained.*ParaphraserHook'):
        Paraphraser(4)(torch.randn(1, 4, 3, 3))


def test_a_trained_paraphraser_stays_as_it_is():
    paraphraser = trained().train()
    before = copy.deepcopy(paraphraser.state_dict())
    feature = torch.randn(2, 4, 5, 5)
    first = paraphraser(feature)
    assert torch.equal(first, paraphraser(feature))
    assert not paraphraser.encoder.training
    assert not first.requires_grad
    assert all(weight.grad is None for weight in paraphraser.parameters())  # an optimizer would step by it
    assert all(torch.equal(value, before[key]) for key, value in paraphraser.state_dict().items())


@pytest.mark.parametrize('load', [lambda m, s: m.load_state_dict(s), lambda m, s: load_state_dict(m, s, strict=True)])
def test_a_trained_paraphraser_survives_saving_and_loading(load):
    paraphraser, fresh = trained(), Paraphraser(4).train()
    load(fresh, paraphraser.state_dict())
    feature = torch.randn(2, 4, 5, 5)
    assert torch.equal(fresh(feature), paraphraser(feature))
    assert not fresh.encoder.training
    load(fresh, Paraphraser(4).state_dict())
    with pytest.raises(ValueError, match='not trained'):
        fresh(feature)


def test_a_copy_is_trained_too():
    paraphraser = trained()
    feature = torch.randn(2, 4, 5, 5)
    assert torch.equal(copy.deepcopy(paraphraser)(feature), paraphraser(feature))


def test_a_rate_that_leaves_no_channel_is_an_error():
    for build in (lambda: Paraphraser(4, rate=0.1), lambda: Translator(8, 4, rate=0.1)):
        with pytest.raises(ValueError, match=r'rate=0\.1 leaves none of the 4 channels'):
            build()


def test_one_channel_is_enough_for_a_code():
    assert Paraphraser(4, rate=0.25).encoder[3].out_channels == 1


def test_a_negative_response_passes_the_leaky_relu_with_a_tenth():
    activations = [layer for layer in Translator(3, 4).encoder if isinstance(layer, nn.LeakyReLU)]
    assert [layer(torch.tensor(-1.0)).item() for layer in activations] == 3 * [pytest.approx(-0.1)]


def test_nothing_of_an_untrained_paraphraser_asks_for_a_gradient():
    paraphraser = Paraphraser(4)
    assert paraphraser.is_trained is False
    assert not any(weight.requires_grad for weight in paraphraser.parameters())


def test_an_untrained_paraphraser_trains_unless_it_is_told_otherwise():
    assert Paraphraser(4).eval().train().encoder.training
