"""The parts of a distilled step, each to be run by itself."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import Tensor

from ..config_files import is_distillation, model_of, without_pretrained
from ..distillers import FeatureDistiller
from ..distillers.labels import labels_of
from ..hooks.classifying_heads import classifying_heads
from ..positions import Feature, ends_of, reading, tap_at
from ..registry import MODELS
from ..transforms import Conv1x1
from .batches import random_batch
from .peer import mmrazor_model

__all__ = ['PARTS', 'Steps']

# What a distilled step cannot do without.
PARTS = ('student', 'teacher', 'connectors')


class Steps:
    """A distiller on a batch of noise, and what it does in a step.

    Args:
        config: A distillation config; its teacher stays random here.
        batch_size: Images.
        size: ``(H, W)`` of the images, in pixels.
        device: Where to run.
        channels_last: Keep channels side by side in memory.
        mmrazor: Let mmrazor distil the same pair, too.

    Raises:
        TypeError: If the config is not one of a distillation.
        ValueError: If it has no optimizer, if its method needs the graph from the images to the features, which the
            separate parts lack, or if mmrazor is asked for and missing, or has no such method.
    """

    def __init__(
        self,
        config: Config,
        batch_size: int,
        size: tuple[int, int],
        device: torch.device,
        channels_last: bool,
        mmrazor: bool = False,
    ) -> None:
        config = copy.deepcopy(config)
        if not is_distillation(config):
            raise TypeError(f'model.type={config.model.type!r} is not a distillation, whose parts could be timed')
        if not config.get('optim_wrapper'):
            raise ValueError('optim_wrapper is not set, and a step takes an optimizer')
        scope = config.get('default_scope', 'mmengine')
        init_default_scope(scope)
        config.model.input_shape = size
        # Time does not depend on the weights; what is read from a cache would not be the teacher's time.
        config.model.teacher.update(checkpoint=None, allow_random=True, cache=None)
        config.model.student = without_pretrained(config.model.student)
        torch.manual_seed(0)
        self.model: FeatureDistiller = MODELS.build(model_of(config)).to(device).train()
        peer = mmrazor_model(self.model) if mmrazor else None
        if channels_last:
            for model in (self.model, peer) if peer else (self.model,):
                model.to(memory_format=torch.channels_last)
        if any(pair.takes_inputs for pair in self.model.pairs):
            raise ValueError('a method that differentiates with respect to the images cannot be timed in parts')
        for pair in self.model.pairs:
            pair.auto_weight = None  # what is still being measured takes backward passes that most of a training lacks
        self.optimizer = _optimizer(self.model, config.optim_wrapper)
        self.peer = (peer, _optimizer(peer, config.optim_wrapper)) if peer else None
        preprocessor = self.model.data_preprocessor
        if 'size' in vars(preprocessor):  # mmseg's pads to its crop
            preprocessor.size, preprocessor.size_divisor = size, None
        fewest = min((head.classes for head in classifying_heads(self.model).values()), default=2)
        raw = random_batch(scope, batch_size, size, fewest)
        self.batch = preprocessor(raw, True)
        self.inputs: Tensor = self.batch['inputs']
        takes_labels = any(pair.loss.takes_labels for pair in self.model.pairs)
        self.labels = labels_of(self.batch['data_samples']) if takes_labels else None
        taps = [tap_at(pair.student_place) for pair in self.model.pairs]
        with self._context(), torch.no_grad():
            with reading(self.model.student, taps):
                self.model.student(**self.batch, mode='loss')
                read = [tap.take(self.inputs.shape[2:]) for tap in taps]
            self.teacher_features = self.model.teacher(self.inputs)
        self.student_features = [_leaves(one) for one in read]

    def things(self) -> dict[str, Callable[[], object]]:
        """What to time: :data:`PARTS`, ``pairs`` (connectors, transforms and losses), ``distilled``, ``mmrazor``."""
        things: dict[str, Callable[[], object]] = dict(
            student=lambda: self._train(self.model.student, self.optimizer),
            teacher=self._forward_teacher,
            connectors=self._convolve,
            pairs=self._compare,
            distilled=lambda: self._train(self.model, self.optimizer),
        )
        if peer := self.peer:
            things['mmrazor'] = lambda: self._train(*peer)
        return things

    def features(self) -> Iterator[Tensor]:
        """What the teacher puts out."""
        for feature in self.teacher_features:
            yield from ends_of(feature)

    def _context(self) -> AbstractContextManager:
        return self.optimizer.optim_context(self.model)

    def _train(self, model: BaseModel, optimizer: OptimWrapper) -> None:
        with optimizer.optim_context(model):
            losses = model(**self.batch, mode='loss')
        optimizer.update_params(model.parse_losses(losses)[0])

    def _forward_teacher(self) -> None:
        with self._context():
            self.model.teacher(self.inputs)

    def _convolve(self) -> None:
        """The convolutions of the connectors alone, forward and backward."""
        for pair, feature in zip(self.model.pairs, self.student_features, strict=True):
            connector = pair.student_transform
            if isinstance(connector, Conv1x1) and not pair.resize:  # else it does not read the feature as it is
                with self._context():
                    made = connector.conv(feature)
                torch.autograd.grad(made, (*ends_of(feature), connector.conv.weight), made.detach())

    def _compare(self) -> None:
        with self._context():
            losses = [
                pair(student, teacher, self.inputs, self.labels)
                for pair, student, teacher in zip(
                    self.model.pairs, self.student_features, self.teacher_features, strict=True
                )
            ]
        weights = [parameter for parameter in self.model.pairs.parameters() if parameter.requires_grad]
        features = [leaf for one in self.student_features for leaf in ends_of(one)]
        torch.autograd.grad(sum(losses[1:], start=losses[0]), weights + features, allow_unused=True)


def _optimizer(model: BaseModel, cfg: dict) -> OptimWrapper:
    optimizer = build_optim_wrapper(model, cfg)
    for group in optimizer.param_groups:
        group['lr'] = 0.0  # nothing is learned from noise, or losses could diverge
    return optimizer


def _leaves(feature: Feature) -> Feature:
    if isinstance(feature, tuple):
        return _leaf(feature[0]), _leaf(feature[1])
    return _leaf(feature)


def _leaf(feature: Tensor) -> Tensor:
    return feature.detach().clone(memory_format=torch.preserve_format).requires_grad_()
