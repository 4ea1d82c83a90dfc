import copy
import itertools
import re
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
import two_processes
from mmengine.registry import MODELS
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler
from toy import Record, ToyImages, distiller_config, toy_runner

from ovkd_mm.hooks import ParaphraserHook, paraphraser_hook

METHOD = dict(
    position=dict(type='ovkd_mm.EndOfGroup'),
    teacher_transform=dict(type='ovkd_mm.Paraphraser'),
    student_transform=dict(type='ovkd_mm.Translator'),
    loss=dict(type='ovkd_mm.FactorLoss'),
    norm_mode='batch',
)


def paraphrasers(model):
    return [pair.teacher_transform for pair in model.pairs]


def states(model):
    return [copy.deepcopy(one.state_dict()) for one in paraphrasers(model)]


def same(first, second):
    return all(
        torch.equal(value, other[key]) for one, other in zip(first, second, strict=True) for key, value in one.items()
    )


def run(work_dir, hook, look=lambda runner: states(runner.model), **settings):
    record = Record(look)
    runner = toy_runner(work_dir, distiller_config(method=METHOD), custom_hooks=[hook, record], **settings)
    start = states(runner.model)
    runner.train()
    return runner, start, record.seen


def error_of(runner):
    """How well all images are rebuilt, in evaluation mode."""
    features = runner.model.teacher(ToyImages().images)
    return [
        F.mse_loss(one.decoder(one.encoder(feature)), feature).item()
        for one, feature in zip(paraphrasers(runner.model), features, strict=True)
    ]


def test_they_learn_to_rebuild_the_teachers_features_and_then_stay_as_they_are(tmp_path):
    runner, start, seen = run(tmp_path, ParaphraserHook(iters=60), iters=3)
    assert not same(start, seen[0])
    assert same(seen[0], seen[2]) and same(seen[0], states(runner.model))
    short, _, _ = run(tmp_path / 'short', ParaphraserHook(iters=20), iters=1)
    for after_60, after_20 in zip(error_of(runner), error_of(short), strict=True):
        assert after_60 < after_20
    variances = [feature.var().item() for feature in runner.model.teacher(ToyImages().images)]
    assert all(error < variance for error, variance in zip(error_of(runner), variances, strict=True))


def test_the_log_shows_as_often_as_for_the_training_how_far_they_are(tmp_path):
    logger = dict(logger=dict(type='LoggerHook', interval=2), checkpoint=None)
    run(tmp_path, ParaphraserHook(iters=5), iters=1, default_hooks=logger)
    log = next(tmp_path.glob('*/*.log')).read_text()
    number = r'[\d.e-]+'
    found = re.findall(rf'\[(\d)/5\]  eta: (\d:\d\d:\d\d)  error_0: {number}  error_1: {number}\n', log)
    assert [done for done, _ in found] == ['2', '4', '5']
    assert found[-1][1] == '0:00:00'


def test_an_epoch_is_a_pass_over_the_training_set(tmp_path):
    runner = toy_runner(tmp_path, distiller_config(method=METHOD), iters=1, custom_hooks=[ParaphraserHook(epochs=3)])
    calls = []
    runner.model.teacher.model.backbone.stem.register_forward_hook(lambda *_: calls.append(1))
    runner.train()
    assert len(calls) == 3 * 2 + 1  # eight images in batches of four, and the iteration of the student


def test_each_image_is_seen_once_an_epoch(tmp_path):
    runner = toy_runner(tmp_path, distiller_config(method=METHOD), iters=1, custom_hooks=[ParaphraserHook(epochs=1)])
    seen = []
    runner.model.teacher.model.backbone.stem.register_forward_pre_hook(lambda module, args: seen.extend(args[0]))
    runner.train()
    for image in ToyImages().images:
        assert sum(torch.equal(image, other) for other in seen[:8]) == 1


def test_the_student_trains_as_if_the_paraphrasers_had_always_been_there(tmp_path):
    def look(runner):
        return {key: value.clone() for key, value in runner.model.student.state_dict().items()}

    first, _, expected = run(tmp_path / 'first', ParaphraserHook(iters=3), look, iters=3)
    ready = MODELS.build(distiller_config(method=METHOD))
    ready.load_state_dict(first.model.state_dict())
    torch.manual_seed(0)
    fresh = MODELS.build(distiller_config(method=METHOD)).state_dict()
    ready.load_state_dict({key: fresh[key] for key in fresh if 'teacher_transform' not in key}, strict=False)
    runner = toy_runner(
        tmp_path / 'ready', ready, iters=3, custom_hooks=[ParaphraserHook(iters=3), other := Record(look)]
    )
    runner.model.teacher.load_state_dict(first.model.teacher.state_dict())
    runner.train()
    for one, two in zip(expected, other.seen, strict=True):
        assert all(torch.equal(value, two[key]) for key, value in one.items())


def test_a_resumed_training_has_its_paraphrasers_and_does_not_train_them_again(tmp_path):
    settings = dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)), iters=4)
    whole, _, seen = run(tmp_path / 'whole', ParaphraserHook(iters=3), **settings)
    resume = dict(load_from=str(tmp_path / 'whole' / 'iter_2.pth'), resume=True)
    # A length that would diverge, if it were gone.
    hook = ParaphraserHook(iters=3, optimizer=dict(type='SGD', lr=float('inf')))
    resumed, _, again = run(tmp_path / 'resumed', hook, **settings, **resume)
    assert same(again[0], seen[0])
    others = resumed.model.state_dict()
    assert all(torch.equal(value, others[key]) for key, value in whole.model.state_dict().items())


@pytest.mark.parametrize('resume', [False, True])
def test_paraphrasers_that_another_training_may_have_left_are_spoken_of(tmp_path, resume):
    settings = dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)), iters=3)
    run(tmp_path / 'first', ParaphraserHook(iters=3), **settings)
    loaded = dict(load_from=str(tmp_path / 'first' / 'iter_2.pth'), resume=resume)
    with mock.patch.object(paraphraser_hook, 'print_log') as log:
        run(tmp_path / 'second', ParaphraserHook(iters=3), **settings, **loaded)
    said = [call.args[0] for call in log.call_args_list]
    assert len(said) == (not resume) and all('if its teacher was another one' in one for one in said)


def test_random_numbers_are_left_as_they_were_found(tmp_path):
    class Augmented(ToyImages):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            return item | dict(inputs=item['inputs'] + torch.rand(1))

    loader = dict(dataset=Augmented(), batch_size=4, collate_fn=dict(type='default_collate'))
    runner = toy_runner(
        tmp_path,
        distiller_config(method=METHOD),
        train_dataloader=loader | dict(sampler=dict(type='DefaultSampler', shuffle=True)),
    )
    runner.train_loop  # noqa: B018  (builds the loader)
    before = torch.get_rng_state()
    ParaphraserHook(iters=2).before_train(runner)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_ema_of_the_student_holds_the_trained_paraphrasers(tmp_path):
    runner, _, _ = run(
        tmp_path, ParaphraserHook(iters=3), iters=3, default_hooks=dict(ema=dict(type='EMAHook', momentum=0.5))
    )
    (hook,) = (hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook')
    average = hook.ema_model.module
    for one, other in zip(states(runner.model), states(average), strict=True):
        for key, value in one.items():
            torch.testing.assert_close(other[key], value, rtol=1e-6, atol=0, msg=key)
    assert all(one['trained'] for one in states(average))


def test_what_diverges_is_an_error_that_names_the_setting(tmp_path):
    with pytest.raises(ValueError, match=r'paraphraser of pair 0 diverged: lower the learning rate of ParaphraserHook'):
        run(tmp_path, ParaphraserHook(iters=3, optimizer=dict(type='SGD', lr=1e38)), iters=1)


def test_without_the_hook_the_first_iteration_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"Paraphraser is not trained.*dict\(type='ovkd_mm.ParaphraserHook'"):
        toy_runner(tmp_path, distiller_config(method=METHOD), iters=1).train()


def test_other_methods_have_nothing_to_train(tmp_path):
    toy_runner(tmp_path, iters=1, custom_hooks=[ParaphraserHook(iters=10**9)]).train()  # would never end


def test_wrong_lengths_and_models_are_errors(tmp_path):
    with pytest.raises(ValueError, match='ParaphraserHook needs either epochs or iters'):
        ParaphraserHook()
    for nothing in (dict(epochs=0), dict(iters=0)):
        with pytest.raises(ValueError, match='ParaphraserHook needs epochs or iters above 0'):
            ParaphraserHook(**nothing)
    with pytest.raises(TypeError, match='needs a FeatureDistiller, got ToyClassifier'):
        toy_runner(tmp_path, dict(type='ToyClassifier'), custom_hooks=[ParaphraserHook(iters=1)]).train()


def test_what_fsdp_cut_into_shards_is_an_error(tmp_path, monkeypatch):
    runner = toy_runner(tmp_path, distiller_config(method=METHOD))
    monkeypatch.setattr('ovkd_mm.hooks.paraphraser_hook.FullyShardedDataParallel', type(runner.model))
    with pytest.raises(ValueError, match='cannot train what FSDP has cut into shards'):
        ParaphraserHook(iters=1).before_train(runner)


@pytest.fixture(scope='module')
def processes(tmp_path_factory):
    return two_processes.run(two_processes.with_methods, tmp_path_factory.mktemp('two_processes'))


def test_processes_end_with_equal_paraphrasers_though_they_began_with_others(processes):
    first, second = (result['paraphrasers'] for result in processes)
    assert first['began'] != second['began']
    assert first['images'] != second['images']
    assert first['state'].keys() == second['state'].keys()
    for key, value in first['state'].items():
        assert torch.equal(value, second['state'][key]), key


@pytest.mark.parametrize('name', two_processes.METHODS)
def test_two_processes_with_half_the_batch_each_have_the_gradients_of_one_with_all(processes, name):
    model = two_processes.build_distiller(method=two_processes.METHODS[name], pairs=two_processes.PAIRS)
    whole = two_processes.gradients(model, slice(None))
    first, second = (result['gradients'][name] for result in processes)
    for key, value in whole.items():
        torch.testing.assert_close(first[key], value, rtol=1e-4, atol=1e-6, msg=key)
        assert torch.equal(first[key], second[key]), key


def test_gradients_of_several_processes_are_averaged(tmp_path, monkeypatch):
    asked = set()
    monkeypatch.setattr(paraphraser_hook, 'all_reduce_params', lambda gradients, op: asked.add(op))
    run(tmp_path, ParaphraserHook(iters=1), iters=1)
    assert asked == {'mean'}


def batches(count: int, **changes) -> list:
    """The first batches of four, of the loader that ``changes`` describe."""
    loader = DataLoader(ToyImages(count), **{'batch_size': 4, **changes})
    runner = SimpleNamespace(train_dataloader=loader, seed=0)
    return [batch['inputs'] for batch in itertools.islice(paraphraser_hook._batches(runner), 4)]


def test_a_rest_of_a_batch_is_left_out_unless_it_is_all_there_is():
    assert [len(one) for one in batches(9)] == [4] * 4
    assert [len(one) for one in batches(3)] == [3] * 4


def test_a_batch_sampler_tells_the_size_of_its_batches():
    sampler = BatchSampler(SequentialSampler(range(8)), 4, drop_last=True)
    assert [len(one) for one in batches(8, batch_size=1, batch_sampler=sampler)] == [4] * 4


def test_each_epoch_is_shuffled_anew():
    images, found = ToyImages(8).images, batches(8)
    epochs = [torch.cat(found[start : start + 2]) for start in (0, 2)]
    assert not torch.equal(epochs[0], images) and not torch.equal(*epochs)
    assert all(torch.equal(one.flatten(1).sum(1).sort()[0], images.flatten(1).sum(1).sort()[0]) for one in epochs)


def test_they_learn_from_what_a_training_prepares_whatever_mode_the_model_is_in(tmp_path):
    runner = toy_runner(tmp_path, distiller_config(method=METHOD))
    runner.train_loop  # noqa: B018  (builds the loader)
    asked = []
    runner.model.data_preprocessor.register_forward_pre_hook(
        lambda module, args, kwargs: asked.append(kwargs['training']), with_kwargs=True
    )
    runner.model.eval()
    ParaphraserHook(iters=1).before_train(runner)
    assert asked == [True]
    assert all(one.encoder[1].num_batches_tracked == 1 for one in paraphrasers(runner.model))


def test_images_are_loaded_in_the_trainings_way(monkeypatch):
    loader, asked = DataLoader(ToyImages(), num_workers=1, collate_fn=list, worker_init_fn=print), []
    monkeypatch.setattr(paraphraser_hook, 'DataLoader', lambda dataset, **settings: asked.append(settings) or [dataset])
    assert next(paraphraser_hook._batches(SimpleNamespace(train_dataloader=loader, seed=0))) is loader.dataset
    assert [asked[0][key] for key in ('num_workers', 'collate_fn', 'worker_init_fn')] == [1, list, print]
