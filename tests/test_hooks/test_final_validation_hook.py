import pytest
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from toy import ToyImages, toy_runner

from ovkd_mm.hooks import FinalValidationHook


@METRICS.register_module(force=True)
class CountedValidations(BaseMetric):
    done = 0

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        CountedValidations.done += 1
        return dict(done=CountedValidations.done)


@pytest.fixture
def validations(tmp_path):
    """Train, and return how often was validated."""

    def train(last: str | None = None, validate: bool = True, **changes) -> int:
        CountedValidations.done = 0
        if validate:
            changes |= dict(
                val_dataloader=dict(
                    dataset=ToyImages(),
                    batch_size=4,
                    collate_fn=dict(type='default_collate'),
                    sampler=dict(type='DefaultSampler', shuffle=False),
                ),
                val_evaluator=dict(type='CountedValidations'),
                val_cfg=dict(),
            )
        runner = toy_runner(tmp_path, load_from=last, resume=last is not None, **changes)
        runner.register_hook(FinalValidationHook())
        runner.train()
        return CountedValidations.done

    return train


@pytest.mark.parametrize(
    ('schedule', 'last'), [(dict(epochs=2), 'epoch_2.pth'), (dict(iters=4), 'iter_4.pth')], ids=['epochs', 'iterations']
)
def test_a_training_that_is_resumed_at_its_end_is_validated_and_any_other_as_ever(
    validations, tmp_path, schedule, last
):
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1, by_epoch='epochs' in schedule))
    expected = 2 if 'epochs' in schedule else 1
    assert validations(**schedule, default_hooks=hooks) == expected
    assert validations(str(tmp_path / last), **schedule) == 1
    assert validations(str(tmp_path / last.replace(last[-5], '1')), **schedule) == 1


def test_a_training_at_its_end_is_validated_where_its_batches_are_smaller_now(validations, tmp_path):
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
    validations(epochs=2, default_hooks=hooks)
    loader = dict(
        dataset=ToyImages(),
        batch_size=2,
        collate_fn=dict(type='default_collate'),
        sampler=dict(type='DefaultSampler', shuffle=True),
    )
    assert validations(str(tmp_path / 'epoch_2.pth'), epochs=2, train_dataloader=loader) == 1


def test_where_there_is_nothing_to_validate_with_nothing_is(validations, tmp_path):
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
    assert validations(validate=False, default_hooks=hooks) == 0
    assert validations(str(tmp_path / 'epoch_2.pth'), validate=False) == 0
