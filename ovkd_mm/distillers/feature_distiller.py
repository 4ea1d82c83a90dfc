"""FeatureDistiller, the model that a distillation config names."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from torch import Tensor, nn

from ..method_files import methods_of
from ..positions import reading, tap_at, trace
from ..registry import MODELS
from ..rng import preserve_rng_state
from ..toolkits import image_preprocessor
from .build_pairs import build_pairs
from .channel_order import ChannelOrder
from .feature_pair import FeaturePair, FeaturePairs
from .finite_check import FiniteCheck
from .labels import labels_of
from .method_hooks import register_before_runs
from .renormalize import check_channels
from .settings import METHOD, check_norm_mode, check_settings, check_shape
from .sigmoid_scores import warn_of_sigmoid_scores
from .student_facade import StudentFacade
from .teacher import Teacher, check_teacher

__all__ = ['FeatureDistiller']

# What a student takes; semi- and self-supervised ones take several batches at once.
Inputs = Tensor | dict | list
Samples = Tensor | list | dict | None

ONE_BATCH = (
    'a teacher is compared with a student on one batch of images, a tensor (N, 3, H, W). Name a student whose forward '
    'takes one, such as the detector inside a semi-supervised one'
)


@MODELS.register_module()
class FeatureDistiller(StudentFacade):
    """A student that learns a teacher's features beside its own task.

    ``mode='loss'`` adds the pairs' losses to the student's; every other mode is the student. Its checkpoint is a stock
    student checkpoint with the training-only parts under ``distiller.``; the teacher is in no checkpoint, optimizer,
    DDP bucket or EMA copy, but follows the model to its device and dtype.

    Args:
        student: Model config of any toolkit; left as it is.
        teacher: ``model`` (a config path, ``package::config`` or a dict), ``checkpoint``, and the other arguments of
            :class:`Teacher`.
        method: The four parts: ``position``, ``teacher_transform``, ``student_transform`` and ``loss``;
            ``without_activation``, overrides of these where no activation follows the teacher's place (a sum of
            residuals, a layer norm); ``weight``, the weight of its pairs: a number (1 by default), or ``'halved'``: 1
            in the last stage and half as much in each earlier one, as OFD has it, whose loss is a sum over C, H and W;
            ``norm_mode``, the teacher's, where that is not set: ``'running'`` (the default), that is in evaluation
            mode, or ``'batch'`` (for OFD); and ``hooks``, those that it needs in training. The runner registers them,
            unless ``custom_hooks`` has one of the same class. Instead, the name of a file of
            ``configs/_base_/methods``, or a list of methods, whose losses add up, each with the pairs (or logits) below
            or with ``pairs`` (``logits``) of its own; with ``'batch'`` if one of them asks for it.
        pairs: ``'auto'`` (where the stages of both backbones end, see :func:`ovkd_mm.positions.auto_places`), or a list
            of dicts with ``student`` and ``teacher`` (a module path, ``'backbone[1]'`` for the second of the tensors
            that a module returns, or a dict with a position's ``type`` and ``path``), ``stage`` (by default the pair's
            index in the list), ``resize`` and, to override the method for this pair, ``weight`` and any of its parts.
            A method that reads the two ends of a group uses only the path of a place with a position of its own.
        logits: What a method that compares class scores (position ``ovkd_mm.Logits``) takes in place of ``pairs``:
            ``'auto'`` (the layers whose outputs both models return, see :func:`ovkd_mm.positions.auto_logits`), or
            pairs of the same form; with ``classes`` where a detector's channels hold the scores of several anchors.
        input_shape: ``(H, W)`` of the training inputs, in pixels, for the trace.
        data_preprocessor: The student's, where a toolkit's config defines it outside the model.
        channel_order: ``'rgb'`` or ``'bgr'``, what the student sees after its preprocessor. Needed only where that does
            not determine it: mmpretrain's with ``to_rgb=False``.

    Attributes:
        hooks: Configs of the hooks that the method brings, and of the one that logs ``distill_share``.
        distill_weight: Weight of all pairs together, 1 unless a hook changes it. Where this or every pair's own
            weight is 0, the teacher does not run, and the student may take any inputs.
        task_weight: Weight of the student's own losses, 1 unless a hook changes it.
        student_learns: False while a hook lets the connectors learn alone.
        methods: Number of methods.
        measuring: Whether gradients are only being measured, for ``loss_weight='auto'``, not used for learning.

    Raises:
        ValueError: If a key is unknown or missing, a place does not exist or a pair does not fit, or if the student's
            data preprocessor hands it several batches at once. The message names it.
        TypeError: If student, teacher, method or a pair is not a dict, or the pairs are not a list.
    """

    def __init__(
        self,
        student: dict,
        teacher: dict,
        method: str | dict | Sequence[str | dict],
        input_shape: Sequence[int],
        pairs: str | Sequence[dict] = 'auto',
        logits: str | Sequence[dict] = 'auto',
        data_preprocessor: dict | None = None,
        channel_order: ChannelOrder | None = None,
    ) -> None:
        methods = [dict(one) for one in methods_of(method)]
        hooks, norm_modes = [], set()
        for one in methods:
            check_settings('method', one, METHOD)
            own = one.pop('hooks', [])
            if not isinstance(own, list) or not all(isinstance(hook, dict) and 'type' in hook for hook in own):
                raise ValueError(f'method.hooks must be a list of hook configs, dicts with a type; got {own!r}')
            hooks += own
            norm_modes.add(norm_mode := one.pop('norm_mode', 'running'))
            check_norm_mode('method.norm_mode', norm_mode)
        if not isinstance(student, dict):
            raise TypeError(f'student must be the config of a model, a dict; got {student!r}')
        student = copy.deepcopy(student)
        if data_preprocessor is not None:
            student.setdefault('data_preprocessor', data_preprocessor)
        super().__init__(student)
        self.methods = len(methods)
        self.distill_weight = self.task_weight = 1.0
        self.student_learns, self.measuring = True, False
        self.hooks = [dict(type='ovkd_mm.DistillShareHook'), *hooks]
        self._check_one_batch()
        check_shape(input_shape)
        student_trace = trace(self.student, input_shape, training=True)
        check_teacher(teacher)
        if len(norm_modes) > 1 and 'norm_mode' not in teacher:
            print_log(
                "one of the methods asks for a teacher that normalizes by the batch (norm_mode='batch'), another does "
                'not: it normalizes by the batch for all of them, unless model.teacher.norm_mode is set',
                logger='current',
            )
        # Not a submodule: neither state_dict nor parameters() nor DDP nor an optimizer is to find the teacher.
        self.__dict__['teacher'] = Teacher(
            **{'norm_mode': 'batch' if 'batch' in norm_modes else 'running', **teacher},
            student_preprocessor=self.student.data_preprocessor,
            student_order=channel_order,
            input_shape=input_shape,
        )
        # Again, as traced: not every preprocessor has a mean that tells them.
        check_channels(student_trace.images.shape[1], self.teacher.trace.images.shape[1])
        with preserve_rng_state():
            both = student_trace, self.teacher.trace, self.student, self.teacher.model
            self.pairs = FeaturePairs(pair for one in methods for pair in build_pairs(one, pairs, logits, *both))
        warn_of_sigmoid_scores(self.student, self.pairs)
        self._owner = id(self)  # of the teacher, which copies share
        self._finite_check = FiniteCheck()
        self._taps = [tap_at(pair.student_place) for pair in self.pairs]
        self._takes_inputs = any(pair.takes_inputs for pair in self.pairs)
        self.teacher.attach([pair.teacher_place for pair in self.pairs], self._takes_inputs)
        for pair in self.pairs:
            transform = f'{type(pair.teacher_transform).__name__}({pair.teacher_transform.extra_repr()})'
            print_log(f'distilling {pair.extra_repr()}, {transform}', logger='current')

    # What it calls is compiled: the student and the pairs.
    @torch.compiler.disable(recursive=False)
    def forward(self, inputs: Inputs, data_samples: Samples = None, mode: str = 'tensor') -> Any:
        """The student's forward; in ``mode='loss'`` with one ``loss_distill_<i>`` a pair beside the task's losses.

        It also logs the values of each pair's loss (:meth:`ovkd_mm.losses.DistillLoss.log`) as ``distill_<name>_<i>``
        and, for a teacher with a cache, ``distill_cached``, the fraction of the batch that was found in it.

        Args:
            inputs: Preprocessed batch, shape ``(N, 3, H, W)``; where nothing is distilled, whatever the student takes.
            data_samples: The toolkit's data samples.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.

        Returns:
            What the student returns.

        Raises:
            TypeError: If the student is trained on several batches at once, in a dict or a list.
            ValueError: If a teacher feature is not finite, a pair's features do not fit, or a loss takes labels and the
                samples have none.
        """
        self._finite_check.read()
        if mode != 'loss':
            return self.student(inputs, data_samples, mode=mode)
        if self._takes_inputs or self._measures():
            # Differentiated twice, which a compiled graph cannot be.
            return torch.compiler.disable(self._losses)(inputs, data_samples)
        return self._losses(inputs, data_samples)

    @torch.compiler.disable(recursive=False)
    def _losses(self, inputs: Inputs, data_samples: Samples) -> dict:
        compares = self.distill_weight != 0 and any(pair.weight != 0 for pair in self.pairs)
        if not compares:
            losses = dict(self.student(inputs, data_samples, mode='loss'))
            device = next(_tensors(losses)).device
            distillation = [_no_loss(pair, device) for pair in self.pairs]
        else:
            inputs = self._one_batch(inputs)
            if self._takes_inputs or self._measures():
                self._check_not_recomputed()
            if self._takes_inputs:
                self._check_differentiable_twice()
                inputs = inputs.detach().requires_grad_()
            # The teacher first, so that its temporary memory does not add to what the student keeps for backward.
            teacher_features = self.teacher(inputs)
            with reading(self.student, self._taps):
                losses = dict(self.student(inputs, data_samples, mode='loss'))
                student_features = [tap.take(inputs.shape[2:]) for tap in self._taps]
            labels = labels_of(data_samples) if any(pair.loss.takes_labels for pair in self.pairs) else None
            distillation = [
                pair(student, teacher, inputs, labels, pair.auto_weight.factor if pair.auto_weight else 1.0)
                for pair, student, teacher in zip(self.pairs, student_features, teacher_features, strict=True)
            ]
            if self._measures():
                distillation = self._measured(losses, distillation)
            distillation = [self.distill_weight * loss for loss in distillation]
            places, images = [pair.teacher_place for pair in self.pairs], inputs.detach()
            self._finite_check.ask(sum(distillation), places, lambda: self.teacher(images))
        if self.task_weight != 1:
            losses = {name: _weighted(value, self.task_weight, name) for name, value in losses.items()}
        for index, auto in enumerate(self.pairs.auto_weights):
            losses[f'distill_auto_weight_{index}'] = torch.tensor(auto.factor)
            if compares and torch.is_grad_enabled():
                auto.step(self.student_learns)
        if self.teacher.cache and compares:
            losses['distill_cached'] = torch.tensor(self.teacher.cache.hits)
        for index, (pair, loss) in enumerate(zip(self.pairs, distillation, strict=True)):
            losses[f'loss_distill_{index}'] = loss
            for name, value in pair.loss.log(compared=compares).items():
                if 'loss' in name:
                    raise ValueError(
                        f'{type(pair.loss).__name__}.log names a value {name!r}, which mmengine would add to the loss: '
                        'give it a name without "loss"'
                    )
                losses[f'distill_{name}_{index}'] = value
        return losses

    def _measures(self) -> bool:
        """Whether this iteration is to find the weights that are measured."""
        return torch.is_grad_enabled() and any(auto.due() for auto in self.pairs.auto_weights)

    def _measured(self, losses: dict, distillation: list[Tensor]) -> list[Tensor]:
        """Measure the weights that are due, and return the pairs' losses with the new ones."""
        self.measuring = True
        try:
            weights = [weight for weight in self.student.parameters() if weight.requires_grad]
            return self.pairs.measured(self.student.parse_losses(losses)[0], distillation, weights)
        finally:
            self.measuring = False

    def _check_one_batch(self) -> None:
        preprocessor = self.student.data_preprocessor
        if image_preprocessor(preprocessor) is not preprocessor:
            raise ValueError(
                f'the student {type(self.student).__name__} cannot be distilled: its data preprocessor, '
                f'{type(preprocessor).__name__}, hands it several batches at once in training, and {ONE_BATCH}'
            )

    def _one_batch(self, inputs: Inputs) -> Tensor:
        if isinstance(inputs, Tensor):
            return inputs
        batches = f'a dict of {list(inputs)}' if isinstance(inputs, dict) else f'a {type(inputs).__name__}'
        raise TypeError(
            f'the student {type(self.student).__name__} cannot be distilled: in training its inputs are {batches}, and '
            f'{ONE_BATCH}, or set the weight of all pairs to 0'
        )

    def _check_not_recomputed(self) -> None:
        for path, module in self.student.named_modules():
            if getattr(module, 'with_cp', False) is True and any(one.requires_grad for one in module.parameters()):
                raise ValueError(
                    f'the student has with_cp=True ({path}), under which torch can only run a whole backward pass; '
                    "loss_weight='auto' and methods that match gradients (ovkd_mm.InputGradient) need more than "
                    f"that. Set with_cp=False, and to save memory nevertheless activation_checkpointing=['{path}']"
                )

    def _check_differentiable_twice(self) -> None:
        if get_world_size() > 1 and any(isinstance(module, nn.SyncBatchNorm) for module in self.student.modules()):
            raise ValueError(
                'the student has SyncBN, through which a method that matches gradients (ovkd_mm.InputGradient) cannot '
                "differentiate twice over several processes: set its norm_cfg=dict(type='BN'), and leave sync_bn out "
                'of the config'
            )

    def _apply(self, fn: Callable, *args: Any, **kwargs: Any) -> 'FeatureDistiller':
        """What moves the model (``to``, ``cuda``, ``half``) moves the teacher, unless it moves a copy (EMA)."""
        super()._apply(fn, *args, **kwargs)
        if self._owner == id(self):
            self.teacher._apply(fn, *args, **kwargs)
        return self


def _weighted(value: Tensor | list[Tensor], weight: float, name: str) -> Tensor | list[Tensor]:
    """A loss times a weight; what is only logged stays."""
    if 'loss' not in name:
        return value
    return [weight * one for one in value] if isinstance(value, list) else weight * value


def _tensors(losses: dict[str, Tensor | list[Tensor]]) -> Iterator[Tensor]:
    for value in losses.values():
        yield from value if isinstance(value, list) else [value]


def _no_loss(pair: FeaturePair, device: torch.device) -> Tensor:
    """A zero that every parameter of the pair has part in, since DDP waits for the gradient of each."""
    return sum((parameter.flatten()[:0].sum() for parameter in pair.parameters()), start=torch.zeros((), device=device))


register_before_runs(FeatureDistiller)
