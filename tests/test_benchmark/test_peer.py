import importlib

import pytest
import torch
import toy
from toy import METHOD

from ovkd_mm.benchmark.peer import mmrazor_distiller, mmrazor_model
from ovkd_mm.registry import MODELS


def distiller(**changes):
    torch.manual_seed(0)
    return MODELS.build(toy.distiller_config(**changes)).train()


def test_mmrazor_reads_the_batch_norms_before_the_activations_and_joins_them_as_ours_are():
    parts = mmrazor_distiller(distiller())
    norms = dict(
        loss_0=dict(type='ModuleOutputs', source='backbone.layer1.1.bn2'),
        loss_1=dict(type='ModuleOutputs', source='backbone.layer2.0.bn2'),
    )
    assert parts['student_recorders'] == norms and parts['teacher_recorders'] == norms
    sizes = [parts['connectors'][f'loss_{index}_student'] for index in (0, 1)]
    assert [(one['in_channel'], one['out_channel']) for one in sizes] == [(4, 6), (8, 12)]
    assert [one['loss_weight'] for one in parts['distill_losses'].values()] == [0.5, 1.0]
    assert parts['loss_forward_mappings']['loss_1'] == dict(
        s_feature=dict(from_student=True, recorder='loss_1', connector='loss_1_student'),
        t_feature=dict(from_student=False, recorder='loss_1', connector='loss_1_teacher'),
    )


def test_a_student_place_without_a_batch_norm_is_read_where_it_is():
    parts = mmrazor_distiller(distiller(pairs=[dict(student='backbone.stem', teacher='backbone.layer1')]))
    assert parts['student_recorders'] == dict(loss_0=dict(type='ModuleOutputs', source='backbone.stem'))


@pytest.mark.parametrize(
    'changes',
    [
        dict(method=METHOD | dict(teacher_transform=dict(type='ovkd_mm.Identity'))),
        dict(pairs=[dict(student='backbone.layer1', teacher='backbone.stem')]),
        dict(pairs=[dict(student='backbone.layer2', teacher='backbone.layer1', resize=True)]),
    ],
)
def test_what_its_ofd_cannot_do_is_an_error(changes):
    with pytest.raises(ValueError, match='--peer mmrazor: its OFD has 1x1 convolutions and margins from batch norms'):
        mmrazor_distiller(distiller(**changes))


def test_an_environment_without_mmrazor_is_an_error(monkeypatch):
    def missing(name):
        raise ImportError(f'No module named {name!r}')

    monkeypatch.setattr(importlib, 'import_module', missing)
    with pytest.raises(ValueError, match=r"--peer mmrazor: mmrazor cannot be imported here \(No module named 'mmrazor"):
        mmrazor_model(distiller())


def test_it_computes_the_loss_that_ours_computes():
    pytest.importorskip('mmrazor.models', reason='mmrazor is not here', exc_type=ImportError)
    # Where no shortcut is added, so that both read the same.
    pairs = [dict(student=place, teacher=place) for place in ('backbone.layer1.0.bn1', 'backbone.layer2.0.bn1')]
    ours = distiller(teacher=toy.distiller_config()['teacher'] | dict(norm_mode='running'), pairs=pairs)
    theirs = mmrazor_model(ours)
    for index, pair in enumerate(ours.pairs):
        connector = theirs.distiller.connectors[f'loss_{index}_student'].conv_module
        connector.conv.weight.data = pair.student_transform.conv.weight.data.clone()
    images, labels = toy.batch()
    found = theirs(images, labels, mode='loss')
    expected = ours(images, labels, mode='loss')
    assert found['student.loss'].item() == pytest.approx(expected['loss'].item())
    distilled = [value.item() for name, value in expected.items() if 'loss' in name and name != 'loss']
    assert [found[f'distill.loss_{index}'].item() for index in (0, 1)] == pytest.approx(distilled, rel=1e-5)
