"""The model that a distillation config names."""

import copy
import inspect
from collections.abc import Sequence

import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..checkpoints.stock_keys import from_stock, rename_keys, to_stock
from ..nearest import nearest
from ..positions import Place, Position, Span, Trace, auto_pairs, reading, tap_at, trace
from ..registry import MODELS, TASK_UTILS
from ..rng import preserve_rng_state
from .channel_order import ChannelOrder
from .feature_pair import FeaturePair
from .finite_check import FiniteCheck
from .method_hooks import register_before_runs
from .teacher import Teacher

__all__ = ['FeatureDistiller']

# FSDP, right around the model, looks for its parameters by the names that they have in the model; see FSDPKeysHook.
FSDP_PREFIX = '_fsdp_wrapped_module.'

PARTS = ('position', 'teacher_transform', 'student_transform', 'loss')
METHOD = (*PARTS, 'weight', 'hooks')
PAIR = ('student', 'teacher', 'stage', 'resize', 'classes', 'weight', *PARTS)


@MODELS.register_module()
class FeatureDistiller(BaseModel):
    """A student that learns a teacher's features beside its own task.

    ``mode='loss'`` adds the pairs' losses to the student's; every other mode is the student. Its checkpoint is a stock
    student checkpoint with the training-only parts under ``distiller.``; the teacher is in no checkpoint, optimizer,
    DDP bucket or EMA copy, but follows the model to its device and dtype.

    Args:
        student: Model config of any toolkit; left as it is.
        teacher: ``model`` (a config path, ``package::config`` or a dict), ``checkpoint``, and the other arguments of
            :class:`Teacher`.
        method: The four parts: ``position``, ``teacher_transform``, ``student_transform`` and ``loss``; ``weight``,
            what its pairs weigh: a number (1 by default), or ``'halved'``: 1 in the last stage and half as much in each
            earlier one, which is OFD's and belongs to a sum over C, H and W; and ``hooks``, those that it cannot be
            trained without. The runner registers them, unless ``custom_hooks`` has one of the same class.
        pairs: ``'auto'`` (the last place of each spatial size that both have), or a list of dicts with ``student`` and
            ``teacher`` (a module path, or a dict with a position's ``type`` and ``path``), ``stage`` (by default the
            pair's index in the list), ``resize`` and, to override the method for this pair, ``weight`` and any of its
            parts. Of a place with a position of its own only the path counts for a method that reads the two ends of a
            group.
        logits: Pairs of the same form for a method that compares class scores (position ``ovkd_mm.Logits``), used in
            place of ``pairs``. With ``classes`` where a detector's channels hold the scores of several anchors.
        input_shape: ``(H, W)`` of the training inputs, in pixels, for the trace.
        data_preprocessor: Where a toolkit's config names it outside the model, it is the student's.
        channel_order: ``'rgb'`` or ``'bgr'``, what the student sees after its preprocessor. Needed only where that does
            not tell: mmpretrain's with ``to_rgb=False``.

    Attributes:
        hooks: Configs of the hooks that the method brings, and of the one that logs ``distill_share``.
        distill_weight: Weight of all pairs together, 1 unless a hook changes it. At 0 the teacher does not run.
        task_weight: Weight of the student's own losses, 1 unless a hook changes it.

    Raises:
        ValueError: If a key is unknown or missing, a place does not exist or a pair does not fit. The message names it.
        TypeError: If teacher, method or a pair is no dict, or the pairs are no list.
    """

    def __init__(
        self,
        student: dict,
        teacher: dict,
        method: dict,
        input_shape: Sequence[int],
        pairs: str | Sequence[dict] = 'auto',
        logits: Sequence[dict] | None = None,
        data_preprocessor: dict | None = None,
        channel_order: ChannelOrder | None = None,
    ) -> None:
        _check_settings('method', method, METHOD)
        super().__init__()
        self.distill_weight = self.task_weight = 1.0
        method = dict(method)
        hooks = method.pop('hooks', [])
        if not isinstance(hooks, list):
            raise ValueError(f'method.hooks must be a list of hook configs, got {hooks!r}')
        self.hooks = [dict(type='ovkd_mm.DistillShareHook'), *hooks]
        # The student has its own; found through __getattr__ like everything else of the student.
        del self.data_preprocessor
        student = copy.deepcopy(student)
        if data_preprocessor is not None:
            student.setdefault('data_preprocessor', data_preprocessor)
        self.student = MODELS.build(student)
        student_trace = trace(self.student, input_shape)
        offered = ('student_preprocessor', 'student_order', 'input_shape')
        known = [key for key in inspect.signature(Teacher).parameters if key not in offered]
        _check_settings('teacher', teacher, known)
        # Not a submodule: neither state_dict nor parameters() nor DDP nor an optimizer is to find the teacher.
        self.__dict__['teacher'] = Teacher(
            **teacher,
            student_preprocessor=self.student.data_preprocessor,
            student_order=channel_order,
            input_shape=input_shape,
        )
        key = _position(method.get('position', {})).listed_in
        if key == 'logits':
            pairs = logits
            if not logits:
                raise ValueError(
                    "logits is not set, and the method's position is ovkd_mm.Logits: say where the class scores are, "
                    "such as logits=[dict(student='head.fc', teacher='head.fc')]"
                )
        elif isinstance(pairs, str):
            if pairs != 'auto':
                raise ValueError(f"pairs must be 'auto' or a list of dicts, got {pairs!r}")
            pairs = auto_pairs(student_trace, self.teacher.trace)
        if not isinstance(pairs, Sequence):
            raise TypeError(f'{key} must be a list of dicts, got {pairs!r}')
        for index, pair in enumerate(pairs):
            _check_settings(f'{key}[{index}]', pair, PAIR)
        weights = _pair_weights(method.get('weight', 1.0), pairs)
        with preserve_rng_state():
            self.pairs = nn.ModuleList(
                self._build_pair(f'{key}[{index}]', {**method, **pair, 'weight': weight}, student_trace)
                for index, (pair, weight) in enumerate(zip(pairs, weights, strict=True))
            )
        self._finite_check = FiniteCheck()
        self._taps = [tap_at(pair.student_place) for pair in self.pairs]
        self.teacher.attach([pair.teacher_place for pair in self.pairs])
        for pair in self.pairs:
            transform = f'{type(pair.teacher_transform).__name__}({pair.teacher_transform.extra_repr()})'
            print_log(f'distilling {pair.extra_repr()}, {transform}', logger='current')
        self._register_state_dict_hook(_name_keys_as_the_student_does)

    def _build_pair(self, key: str, cfg: dict, student_trace: Trace) -> FeaturePair:
        if missing := [name for name in ('student', 'teacher', *PARTS) if name not in cfg]:
            raise ValueError(
                f'{key} (with the method) lacks {", ".join(missing)}; a pair has student and teacher, the method '
                f'{", ".join(PARTS)}'
            )
        student_place = _resolve(cfg['student'], cfg['position'], student_trace, f'{key}.student')
        teacher_place = _resolve(cfg['teacher'], cfg['position'], self.teacher.trace, f'{key}.teacher')
        norm = teacher_place.norm and self.teacher.model.get_submodule(teacher_place.norm)
        return FeaturePair(
            student_place,
            teacher_place,
            student_transform=_build_part(
                cfg['student_transform'], in_channels=student_place.channels, out_channels=teacher_place.channels
            ),
            teacher_transform=_build_part(cfg['teacher_transform'], channels=teacher_place.channels, norm=norm),
            loss=_build_part(cfg['loss'], classes=cfg.get('classes')),
            weight=cfg['weight'],
            resize=cfg.get('resize', False),
        )

    # What it calls is compiled: the student and the pairs.
    @torch.compiler.disable(recursive=False)
    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'):
        """The student's forward; in ``mode='loss'`` with one ``loss_distill_<i>`` a pair beside the task's losses.

        It adds to the log what a pair's loss does (:meth:`ovkd_mm.losses.DistillLoss.log`), ``distill_<name>_<i>``.

        Args:
            inputs: Preprocessed batch, shape ``(N, 3, H, W)``.
            data_samples: The toolkit's data samples.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.

        Returns:
            What the student returns.

        Raises:
            ValueError: If a teacher feature is not finite or a pair's features do not fit.
        """
        self._finite_check.read()
        if mode != 'loss':
            return self.student(inputs, data_samples, mode=mode)
        if any(pair.takes_inputs for pair in self.pairs):
            # Differentiated twice, which a compiled graph cannot be.
            return torch.compiler.disable(self._losses)(inputs, data_samples)
        return self._losses(inputs, data_samples)

    @torch.compiler.disable(recursive=False)
    def _losses(self, inputs: Tensor, data_samples: list | None) -> dict:
        if self.distill_weight == 0:
            losses = dict(self.student(inputs, data_samples, mode='loss'))
            distillation = [_no_loss(pair, inputs) for pair in self.pairs]
        else:
            takes_inputs = any(pair.takes_inputs for pair in self.pairs)
            if takes_inputs:
                self._check_differentiable_twice()
                inputs = inputs.detach().requires_grad_()
            with reading(self.student, self._taps):
                losses = dict(self.student(inputs, data_samples, mode='loss'))
                student_features = [tap.take() for tap in self._taps]
            teacher_features = self.teacher(inputs, keep_graph=takes_inputs)
            distillation = [
                self.distill_weight * pair(student, teacher, inputs)
                for pair, student, teacher in zip(self.pairs, student_features, teacher_features, strict=True)
            ]
            self._finite_check.ask(sum(distillation), [pair.teacher_place for pair in self.pairs], teacher_features)
        if self.task_weight != 1:
            losses = {name: _weighted(value, self.task_weight, name) for name, value in losses.items()}
        for index, (pair, loss) in enumerate(zip(self.pairs, distillation, strict=True)):
            losses[f'loss_distill_{index}'] = loss
            for name, value in pair.loss.log(compared=self.distill_weight != 0).items():
                losses[f'distill_{name}_{index}'] = value
        return losses

    def _check_differentiable_twice(self) -> None:
        if get_world_size() > 1 and any(isinstance(module, nn.SyncBatchNorm) for module in self.student.modules()):
            raise ValueError(
                'the student has SyncBN, through which a method that matches gradients (ovkd_mm.InputGradient) cannot '
                "differentiate twice over several processes: set its norm_cfg=dict(type='BN'), and leave sync_bn out "
                'of the config'
            )

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """As the student does, but ``loss`` in the log is the whole; mmpretrain's heads call the task's so."""
        loss, log = self.student.parse_losses(losses)
        if 'loss' in losses:
            log = {'loss': loss, 'loss_task': log.pop('loss'), **log}
        return loss, log

    def val_step(self, data: dict | tuple | list) -> list:
        """As the student does."""
        return self.student.val_step(data)

    def test_step(self, data: dict | tuple | list) -> list:
        """As the student does."""
        return self.student.test_step(data)

    def __getattr__(self, name: str):
        """Whatever else a hook or a tool looks for (``bbox_head``, ``data_preprocessor``) is the student's."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__('student'), name)

    def _apply(self, fn, *args, **kwargs) -> 'FeatureDistiller':
        """What moves the model (``to``, ``cuda``, ``half``) moves the teacher."""
        super()._apply(fn, *args, **kwargs)
        self.teacher._apply(fn, *args, **kwargs)
        return self

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        if not prefix.endswith(FSDP_PREFIX):
            rename_keys(state_dict, prefix, from_stock)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _position(cfg: dict) -> type[Position]:
    """The class that a position's config names; building says what is wrong with a name that is none."""
    named = cfg.get('type')
    return (TASK_UTILS.get(named) if isinstance(named, str) else named) or Position


def _check_settings(key: str, settings: dict, known: Sequence[str]) -> None:
    if not isinstance(settings, dict):
        raise TypeError(f'{key} must be a dict with some of {", ".join(known)}, got {settings!r}')
    for name in settings:
        if name not in known:
            raise ValueError(f'{key} has no setting {name!r}{nearest(name, known)}')


def _pair_weights(weight: float | str, pairs: Sequence[dict]) -> list[float]:
    """What each pair weighs: its own weight, else what the method says."""
    stages = [pair.get('stage', index) for index, pair in enumerate(pairs)]
    if weight == 'halved':
        weights = [0.5 ** (max(stages) - stage) for stage in stages]
    elif isinstance(weight, (int, float)):
        weights = [weight] * len(stages)
    else:
        raise ValueError(f"method.weight must be a number or 'halved', got {weight!r}")
    return [pair.get('weight', default) for pair, default in zip(pairs, weights, strict=True)]


def _build_part(cfg: dict, **offered) -> nn.Module:
    """Build a transform or a loss, with what it asks for of what is offered."""
    kind = MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    asked = inspect.signature(kind).parameters if kind else {}
    return MODELS.build(cfg, default_args={name: value for name, value in offered.items() if name in asked})


def _weighted(value: Tensor | list[Tensor], weight: float, name: str) -> Tensor | list[Tensor]:
    """A loss times a weight; what is only logged stays."""
    if 'loss' not in name:
        return value
    return [weight * one for one in value] if isinstance(value, list) else weight * value


def _resolve(place: str | dict, position: dict, traced: Trace, key: str) -> Place | Span:
    """A place from its path, by the method's position or, written as a dict, by its own."""
    cfg = {**position, 'path': place} if isinstance(place, str) else place
    if _position(position).reads_span:
        cfg = {**cfg, **position}  # one place cannot stand for the two ends of a group; its path can
    try:
        return TASK_UTILS.build(cfg).resolve(traced)
    except ValueError as exc:
        raise ValueError(f'{key}: {exc}') from exc


def _no_loss(pair: FeaturePair, inputs: Tensor) -> Tensor:
    """A zero that every parameter of the pair has part in, since DDP waits for the gradient of each."""
    return sum((parameter.flatten()[:0].sum() for parameter in pair.parameters()), start=inputs.new_zeros(()))


def _name_keys_as_the_student_does(module: nn.Module, state_dict: dict, prefix: str, local_metadata: dict) -> None:
    if not prefix.endswith(FSDP_PREFIX):
        rename_keys(state_dict, prefix, to_stock)


register_before_runs(FeatureDistiller)
