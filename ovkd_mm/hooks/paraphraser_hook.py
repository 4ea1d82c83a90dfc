"""ParaphraserHook: FT's first stage, in which the paraphrasers learn the teacher's factors."""

import datetime
import itertools
import logging
import time
from collections.abc import Iterator

import torch
from mmengine.dist import all_reduce_params, broadcast, get_rank
from mmengine.hooks import LoggerHook
from mmengine.logging import print_log
from mmengine.registry import OPTIMIZERS
from mmengine.runner import Runner
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.utils.data import DataLoader

from ..distillers import FeatureDistiller
from ..registry import HOOKS
from ..rng import preserve_rng_state
from ..transforms import Paraphraser
from .base import DistillerHook
from .duration import Duration, batch_size_of

__all__ = ['ParaphraserHook']


@HOOKS.register_module()
class ParaphraserHook(DistillerHook):
    """Trains the paraphrasers of a distiller on the teacher's features before the student's training begins.

    The log shows each one's mean squared error, ``error_<pair>``, as often as it shows the training's losses.

    They are saved with the checkpoint, so a training that resumes or starts from it skips this stage. A training that
    is interrupted during this stage repeats it from the beginning.

    Args:
        epochs: Length in epochs of the training set.
        iters: Length in iterations, instead of ``epochs``.
        optimizer: Config of the optimizer; by default SGD with learning rate 0.1, momentum 0.9, weight decay 5e-4.

    Raises:
        ValueError: If not exactly one of ``epochs`` and ``iters`` is given, or it is not positive.
    """

    def __init__(self, epochs: int | None = None, iters: int | None = None, optimizer: dict | None = None) -> None:
        self.duration = Duration('ParaphraserHook', epochs, iters)
        if 0 in (epochs, iters):
            raise ValueError('ParaphraserHook needs epochs or iters above 0: factors that nobody learned mean nothing')
        self.optimizer = optimizer or dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4)

    def before_train(self, runner: Runner) -> None:
        """Train the paraphrasers that are not trained yet.

        Raises:
            TypeError: If the model is not a ``FeatureDistiller``.
            ValueError: If a reconstruction becomes NaN or infinite, or FSDP has cut the paraphrasers into shards.
        """
        model = self.distiller(runner)
        every = {
            index: pair.teacher_transform
            for index, pair in enumerate(model.pairs)
            if isinstance(pair.teacher_transform, Paraphraser)
        }
        paraphrasers = {index: one for index, one in every.items() if not one.is_trained}
        if runner.iter == 0 and len(paraphrasers) < len(every):
            print_log(
                'the paraphrasers are those of the checkpoint that was loaded; if its teacher was another one, load '
                "the student's weights alone, so that they are trained anew",
                logger='current',
                level=logging.WARNING,
            )
        if paraphrasers and isinstance(runner.model, FullyShardedDataParallel):
            raise ValueError('ParaphraserHook cannot train what FSDP has cut into shards; train with DDP instead')
        if paraphrasers:
            with preserve_rng_state():
                self._train(runner, model, paraphrasers)

    def _train(self, runner: Runner, model: FeatureDistiller, paraphrasers: dict[int, Paraphraser]) -> None:
        for one in paraphrasers.values():
            one.requires_grad_().train()
            _as_in_the_first_process(one.parameters())
        parameters = [weight for one in paraphrasers.values() for weight in one.parameters()]
        optimizer = OPTIMIZERS.build(dict(self.optimizer, params=parameters))
        length = self.duration.in_iters(runner)
        print_log(f'training {len(paraphrasers)} paraphrasers for {length} iterations', logger='current')
        interval = next((hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), 10)
        start = time.monotonic()
        for done, batch in enumerate(itertools.islice(_batches(runner), length), 1):
            features = model.teacher(model.data_preprocessor(batch, training=True)['inputs'])
            errors = {index: one.reconstruction_loss(features[index].float()) for index, one in paraphrasers.items()}
            optimizer.zero_grad()
            torch.stack(list(errors.values())).sum().backward()
            all_reduce_params([weight.grad for weight in parameters], op='mean')
            optimizer.step()
            if done % interval == 0 or done == length:
                eta = datetime.timedelta(seconds=round((time.monotonic() - start) / done * (length - done)))
                squared = '  '.join(f'error_{index}: {error.item():.4g}' for index, error in errors.items())
                print_log(f'Iter(paraphrasers) [{done}/{length}]  eta: {eta}  {squared}', logger='current')
        for index, one in paraphrasers.items():
            if not all(torch.isfinite(weight).all() for weight in one.parameters()):
                raise ValueError(
                    f'the paraphraser of pair {index} diverged: lower the learning rate of ParaphraserHook.optimizer, '
                    f'which is {self.optimizer}'
                )
            one.finish_training()
            _as_in_the_first_process(one.buffers())  # the running statistics, of which each process has its own


def _as_in_the_first_process(tensors: Iterator[Tensor]) -> None:
    for tensor in tensors:
        broadcast(tensor.data)


def _batches(runner: Runner) -> Iterator:
    """Shuffled batches of the training set without end; the train loop's own loader is left as it is."""
    loader = runner.train_dataloader
    batch_size = batch_size_of(loader)
    generator = torch.Generator().manual_seed(runner.seed + get_rank())
    while True:
        yield from DataLoader(
            loader.dataset,
            batch_size=batch_size,
            shuffle=True,
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
            drop_last=len(loader.dataset) >= batch_size,
            worker_init_fn=loader.worker_init_fn,
            generator=generator,
        )
