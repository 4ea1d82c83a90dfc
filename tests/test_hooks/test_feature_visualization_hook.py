import cv2
import numpy as np
import pytest
import torch
from toy import METHOD, distiller_config, needs_compile, toy_runner

from ovkd_mm.hooks import FeatureVisualizationHook
from ovkd_mm.losses import DKDLoss


def pictures(work_dir):
    return {path.name: cv2.imread(str(path)) for path in work_dir.glob('*/vis_data/vis_image/*.png')}


def run(work_dir, interval, **settings):
    runner = toy_runner(
        work_dir, custom_hooks=[dict(type='ovkd_mm.FeatureVisualizationHook', interval=interval)], **settings
    )
    runner.train()
    return runner


def test_every_interval_a_picture_of_three_panels_is_written_for_each_pair(tmp_path):
    run(tmp_path, 2, epochs=2)
    found = pictures(tmp_path)
    assert set(found) == {f'distill_{pair}_{iteration}.png' for pair in (0, 1) for iteration in (2, 4)}
    assert all(picture.shape == (16, 48, 3) for picture in found.values())
    assert len({picture.tobytes() for picture in found.values()}) == 4


def test_the_maps_are_those_that_the_loss_compares(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        'ovkd_mm.hooks.feature_visualization_hook._draw',
        lambda visualizer, inputs, *maps: drawn.append((inputs, *maps)) or np.zeros((2, 6, 3), np.uint8),
    )
    runner = toy_runner(tmp_path, custom_hooks=[FeatureVisualizationHook(1)], iters=1)
    compared = []
    for pair in runner.model.pairs:
        pair.loss.register_forward_hook(lambda module, args, output: compared.append(args))
    runner.train()
    trained_with = compared[1::2]  # before it each pair was called once more, to be looked at
    assert len(drawn) == len(trained_with) == 2
    for (inputs, teacher, student, distance), (all_student, all_teacher) in zip(drawn, trained_with, strict=True):
        assert inputs.shape == (3, 16, 16)
        assert torch.equal(teacher, all_teacher[:1]) and torch.equal(student, all_student[:1])
        skipped = (student <= teacher) & (teacher <= 0)
        assert skipped.any() and (distance[skipped] == 0).all()
        torch.testing.assert_close(distance[~skipped], ((student - teacher) ** 2)[~skipped])


def test_between_the_pictures_nothing_listens(tmp_path):
    runner = run(tmp_path, 2, iters=3)
    assert not runner.model._forward_pre_hooks
    assert not any(one._forward_pre_hooks for pair in runner.model.pairs for one in (pair, pair.loss))


def test_training_is_the_same_with_and_without_pictures(tmp_path):
    plain = toy_runner(tmp_path / 'plain', epochs=2)
    plain.train()
    state = run(tmp_path / 'drawn', 1, epochs=2).model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in plain.model.state_dict().items())


def test_a_picture_of_what_masks_at_random_leaves_random_numbers_alone(tmp_path):
    masks = METHOD | dict(
        student_transform=dict(type='ovkd_mm.MaskedGeneration'),
        teacher_transform=dict(type='ovkd_mm.Identity'),
        loss=dict(type='ovkd_mm.L2Loss'),
    )
    states = []
    for hooks in ([], [FeatureVisualizationHook(interval=1)]):
        work_dir = tmp_path / str(len(states))
        runner = toy_runner(work_dir, distiller_config(method=masks), iters=2, custom_hooks=hooks)
        runner.train()
        states.append(runner.model.state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@needs_compile
def test_a_compiled_student_has_the_same_pictures(tmp_path):
    for name, settings in dict(plain={}, compiled=dict(compile=dict(backend='eager'))).items():
        hook = FeatureVisualizationHook(2)  # the first iteration is compiled without it
        toy_runner(tmp_path / name, custom_hooks=[hook], iters=2, cfg=settings).train()
    plain, compiled = pictures(tmp_path / 'plain'), pictures(tmp_path / 'compiled')
    assert len(plain) == 2 and all(np.array_equal(picture, compiled[name]) for name, picture in plain.items())


def test_a_loss_of_the_positions_of_a_mask_is_drawn_too(tmp_path):
    from ovkd_mm.hooks.feature_visualization_hook import _draw

    student, teacher, labels = torch.randn(1, 5, 8, 8), torch.randn(1, 5, 8, 8), torch.randint(5, (1, 8, 8))
    distance = DKDLoss().distance(student, teacher, labels)
    visualizer = toy_runner(tmp_path).visualizer
    assert _draw(visualizer, torch.zeros(3, 32, 32), teacher, student, distance).shape == (32, 96, 3)


def test_teacher_and_student_share_a_scale(tmp_path):
    from ovkd_mm.hooks.feature_visualization_hook import _draw

    visualizer = toy_runner(tmp_path).visualizer
    inputs = torch.zeros(3, 64, 64)
    half = torch.arange(2.0).repeat_interleave(32).expand(1, 1, 64, 64)
    picture = _draw(visualizer, inputs, 2 * half, half, half).astype(int)
    teacher, student = picture[50, 60], picture[50, 124]
    assert picture.shape == (64, 192, 3)
    assert np.abs(teacher - student).max() > 50  # 2 against 1 on one scale
    assert np.abs(teacher - picture[50, 188]).max() <= 2  # the highest of its own scale


def test_wrong_intervals_and_models_are_errors(tmp_path):
    with pytest.raises(ValueError, match='interval must be a whole number above 0, got 0'):
        FeatureVisualizationHook(0)
    with pytest.raises(TypeError, match='needs a FeatureDistiller, got ToyClassifier'):
        run(tmp_path, 1, model=dict(type='ToyClassifier'))


def test_nothing_listens_on_where_nothing_was_compared(tmp_path):
    runner = toy_runner(tmp_path, iters=1, custom_hooks=[FeatureVisualizationHook(1)])
    runner.model.distill_weight = 0.0
    runner.train()
    assert not any(pair._forward_pre_hooks for pair in runner.model.pairs)
    assert not pictures(tmp_path)


def test_one_process_draws_for_all(tmp_path, monkeypatch):
    monkeypatch.setattr('ovkd_mm.hooks.feature_visualization_hook.is_main_process', lambda: False)
    run(tmp_path, 1, iters=1)
    assert not pictures(tmp_path)
