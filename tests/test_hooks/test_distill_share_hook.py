import json

import pytest
import torch
from mmengine.registry import MODELS
from toy import METHOD, ToyClassifier, distiller_config, toy_runner


@MODELS.register_module()
class NamedLoss(ToyClassifier):
    """Calls its loss as detectors do."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        out = super().forward(inputs, data_samples, mode)
        return dict(loss_cls=out['loss'], accuracy=torch.ones(())) if mode == 'loss' else out


def lines(work_dir, **settings) -> list[dict]:
    """What the log shows, by iteration."""
    toy_runner(work_dir, iters=6, **settings).train()
    return [json.loads(line) for line in next(work_dir.glob('*/vis_data/scalars.json')).read_text().splitlines()]


@pytest.mark.parametrize('window', [1, 3])
@pytest.mark.parametrize('student', ['ToyClassifier', 'NamedLoss'])
def test_the_share_is_the_ratio_of_the_losses_that_the_same_line_shows(tmp_path, student, window):
    found = lines(tmp_path, model=distiller_config(student=dict(type=student)), log_processor=dict(window_size=window))
    assert len(found) == 6
    for line in found:
        distillation = line['loss_distill_0'] + line['loss_distill_1']
        task = line['loss_task' if student == 'ToyClassifier' else 'loss_cls']
        assert line['loss'] == pytest.approx(task + distillation, rel=1e-5)
        assert line['distill_share'] == pytest.approx(distillation / task, rel=1e-4)
    assert len({line['distill_share'] for line in found}) == 6


def test_there_is_no_share_while_the_task_weighs_nothing_and_none_is_distilled_after(tmp_path):
    stage = dict(type='ovkd_mm.InitializationHook', iters=2)
    found = lines(tmp_path, custom_hooks=[stage], log_processor=dict(window_size=1))
    assert [line.get('distill_share') for line in found] == [None, None, 0, 0, 0, 0]


def test_a_model_that_distils_nothing_is_refused(tmp_path):
    with pytest.raises(TypeError, match='DistillShareHook needs a FeatureDistiller, got ToyClassifier'):
        toy_runner(tmp_path, dict(type='ToyClassifier'), custom_hooks=[dict(type='ovkd_mm.DistillShareHook')]).train()


def test_a_running_margin_begins_anew_in_another_training_and_goes_on_in_a_resumed_one(tmp_path):
    linear = dict(student='backbone.stem', teacher='backbone.stem')  # no batch norm before it
    saving = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4))

    def trained(folder, iters, **settings):
        runner = toy_runner(tmp_path / folder, distiller_config(pairs=[linear]), iters=iters, **settings)
        runner.train()
        return runner.model.pairs[0].teacher_transform.negatives.sum().item()

    first = trained('first', 4, default_hooks=saving)
    checkpoint = str(tmp_path / 'first' / 'iter_4.pth')
    alone, new = trained('alone', 2), trained('new', 2, load_from=checkpoint)
    assert 0 < new == alone < first < trained('resumed', 6, load_from=checkpoint, resume=True)


def test_a_measured_weight_begins_anew_in_another_training_and_goes_on_in_a_resumed_one(tmp_path):
    method = METHOD | dict(loss=METHOD['loss'] | dict(loss_weight='auto'))
    saving = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4))

    def counts(runner):
        return runner.model.pairs[0].auto_weight.state[1:].tolist()

    first = toy_runner(tmp_path / 'first', distiller_config(method=method), iters=4, default_hooks=saving)
    first.train()
    assert counts(first) == [4, 4, 4]
    for folder, settings, expected in (('new', {}, [2, 2, 2]), ('resumed', dict(resume=True), [6, 6, 6])):
        runner = toy_runner(
            tmp_path / folder,
            distiller_config(method=method),
            iters=expected[0],
            load_from=str(tmp_path / 'first' / 'iter_4.pth'),
            **settings,
        )
        runner.train()
        assert counts(runner) == expected


@MODELS.register_module()
class NothingToLearn(ToyClassifier):
    """Its task costs nothing."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        out = super().forward(inputs, data_samples, mode)
        return dict(loss=0 * out['loss']) if mode == 'loss' else out


def test_there_is_no_multiple_of_nothing(tmp_path):
    found = lines(tmp_path, model=distiller_config(student=dict(type='NothingToLearn')))
    assert all(line['loss_distill_0'] > 0 and 'distill_share' not in line for line in found)
