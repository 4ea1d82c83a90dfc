"""Teacher: the frozen network that is learned from."""

import contextlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..checkpoints.state_dict import load_strictly, model_weights
from ..positions import Feature, Place, Span, SpanTap, Tap, Trace, reading, tap_at, trace
from ..rng import preserve_rng_state
from .channel_order import ChannelOrder, loaded_order, seen_order
from .feature_cache import FeatureCache
from .foreign import build_teacher, source_of
from .renormalize import Renormalize, normalizes
from .settings import check_norm_mode, check_settings, half_precision

__all__ = ['Teacher', 'check_teacher']

FROM_STUDENT = ('student_preprocessor', 'student_order', 'input_shape')


class _Enough(Exception):  # noqa: N818
    """Ends a forward that has passed its last tap."""


def _cache(cache: str | dict) -> FeatureCache:
    settings = dict(folder=cache) if isinstance(cache, str) else cache
    check_settings('teacher.cache', settings, list(inspect.signature(FeatureCache).parameters))
    if not settings.get('folder'):
        raise ValueError(f'teacher.cache names no folder: set it to one, or to dict(folder=...); got {cache!r}')
    return FeatureCache(**settings)


def _read(checkpoint: str) -> dict[str, Tensor]:
    """The weights in a checkpoint; a distilled student's, without the training-only parts, can be a teacher's, too."""
    try:
        return model_weights(CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu'))
    except (FileNotFoundError, ValueError) as exc:
        raise type(exc)(f'teacher.checkpoint: {exc}') from exc


def _load(model: nn.Module, weights: dict[str, Tensor], checkpoint: str, foreign: bool) -> None:
    try:
        load_strictly(model, weights, f'teacher.checkpoint={checkpoint!r}')
    except ValueError as exc:
        if foreign:  # has no config
            raise
        raise ValueError(
            f'{exc}: --cfg-options model.teacher.model={_config_beside(checkpoint)}, which its training left there'
        ) from None


def _config_beside(checkpoint: str) -> str:
    """The config in the work dir of a checkpoint, for the error that asks for it."""
    folder = Path(checkpoint).parent
    configs = list(folder.glob('*.py')) if (folder / 'last_checkpoint').is_file() else []
    return str(configs[0]) if len(configs) == 1 else 'work_dirs/<name>/<name>.py'


def _check_pixels(model: dict, own: nn.Module, student: nn.Module) -> None:
    if normalizes(student) and not normalizes(own):
        raise ValueError(
            f'teacher.model, a dict of type {model.get("type")!r}, has no data_preprocessor, so that the teacher would '
            'get raw pixels. Write the one that it was trained with into the dict (mmpretrain keeps it beside the '
            "model: data_preprocessor={{_base_.data_preprocessor}}), or name the config's path instead"
        )


def _normalize_by_batch(model: nn.Module) -> None:
    """Let batch norms use the batch's statistics and leave their running ones alone."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            # In training mode without tracking, torch neither reads nor writes the running statistics.
            module.training = True
            module.track_running_stats = False


def _lower(module: nn.Module, dtype: torch.dtype) -> None:
    """Give the weights right in a module another dtype."""
    for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        if tensor.is_floating_point():
            tensor.data = tensor.to(dtype)


class Teacher(nn.Module):
    """A frozen model that is run up to its last tap.

    It is kept out of the student's module tree by its owner, and stays as it is set up here: no gradient, dropout off,
    batch norms by ``norm_mode``, running statistics untouched.

    Args:
        model: A config path, a ``package::config`` name or a model dict of any toolkit; ``'timm::<name>'``,
            ``'torchvision::<name>'`` or ``'transformers::<folder>'``, which bring their own mean and deviation; or a
            dict of a plain module, with the ``data_preprocessor`` that it was trained with.
        checkpoint: Path or URL of its weights. Models of timm, torchvision and transformers come with theirs.
        student_preprocessor: The student's data preprocessor, whose normalization the inputs carry.
        input_shape: ``(H, W)`` of the inputs, to trace the model.
        norm_mode: ``'batch'`` normalizes by the batch, which the paper found better for OFD (section 3.3);
            ``'running'`` by the running statistics. In a distiller's config by default what its methods ask for.
        allow_random: Accept a teacher without a checkpoint. It stays random: nothing is downloaded for it, neither by
            ``init_cfg`` nor by ``pretrained=True``.
        channel_order: ``'rgb'`` or ``'bgr'``, what the teacher sees after its preprocessor; needed only where neither
            the preprocessor nor the config's data set determines it.
        student_order: The channel order of the inputs.
        dtype: ``'bfloat16'`` or ``'float16'``, in which the teacher computes to save time and memory; its batch norms
            keep their weights, and margins come from these. By default float32, or what AMP makes of it.
        compile: Compile it (``torch.compile``), which takes minutes before the first iteration and needs a C++ compiler
            or, on a GPU, Triton.
        cache: A folder in which to keep its features, or a dict of :class:`FeatureCache`'s arguments. For trainings
            whose pipeline has nothing random and whose teacher is slower than the disk.

    Attributes:
        cache: The cache, or None.

    Raises:
        TypeError: If ``cache`` is neither a folder nor a dict.
        ValueError: If there is no checkpoint, if it does not fit the model, if ``norm_mode`` or ``dtype`` is
            unknown, if a dict has no ``data_preprocessor``, if the order of the channels cannot be known, or if there
            is a cache for features that depend on the batch.
        FileNotFoundError: If the config or the checkpoint does not exist.
    """

    def __init__(
        self,
        model: str | dict,
        student_preprocessor: nn.Module,
        input_shape: Sequence[int],
        checkpoint: str | None = None,
        norm_mode: str = 'batch',
        allow_random: bool = False,
        channel_order: ChannelOrder | None = None,
        student_order: ChannelOrder | None = None,
        dtype: str | None = None,
        compile: bool = False,
        cache: str | dict | None = None,
    ) -> None:
        super().__init__()
        self.dtype = half_precision('teacher.dtype', dtype)
        check_norm_mode('teacher.norm_mode', norm_mode)
        if cache is not None and norm_mode == 'batch':
            raise ValueError(
                "teacher.cache needs teacher.norm_mode='running': with the batch's statistics what the teacher makes "
                'of an image depends on the other images'
            )
        self.cache = None if cache is None else _cache(cache)
        foreign = source_of(model)
        if checkpoint is None and not allow_random and not foreign:
            raise ValueError(
                'teacher.checkpoint is not set, and an untrained teacher teaches nothing: give the path of its '
                'weights (--cfg-options model.teacher.checkpoint=...), or set teacher.allow_random=True if you mean it'
            )
        weights = None if checkpoint is None else _read(checkpoint)
        with preserve_rng_state():
            found, config = build_teacher(model, pretrained=checkpoint is None and not allow_random, weights=weights)
            self.model = revert_sync_batchnorm(found)
            if weights is not None:
                _load(self.model, weights, str(checkpoint), foreign=foreign is not None)
        self.model.requires_grad_(False).eval()
        self.trace: Trace | None = trace(self.model, input_shape)
        self._channels = self.trace.images.shape[1]
        if norm_mode == 'batch':
            _normalize_by_batch(self.model)
        preprocessor = self.model.data_preprocessor
        if isinstance(model, dict) and 'data_preprocessor' not in model:
            _check_pixels(model, preprocessor, student_preprocessor)
        self.renormalize = Renormalize(
            student_preprocessor,
            preprocessor,
            student_order,
            channel_order or seen_order(preprocessor, loaded_order(config)),
        )
        # Settings that affect the features but are no weights, such as a dilation.
        self._built_from = str(model) if foreign else str(config.model.to_dict())
        self._taps: list[Tap | SpanTap] = []
        # Some models ask for data samples, which a teacher has not, before they extract features.
        self._entry = self.trace.entry
        self._keep_graph = False
        self._compiles = compile
        if compile:
            self._run = torch.compile(self._run)  # type: ignore[method-assign]

    def attach(self, places: Sequence[Place | Span], keep_graph: bool = False) -> None:
        """Set what :meth:`forward` returns. The trace, which holds a forward's tensors, is released.

        From here on the weights have the dtype that was asked for.

        Args:
            places: One for each feature.
            keep_graph: Keep the graph from the inputs to the features; it does not include the weights.

        Raises:
            ValueError: If ``keep_graph`` is set for a teacher with a cache, or for one that is compiled.
        """
        if keep_graph:
            self._make_differentiable()
        self._keep_graph = keep_graph
        self._taps = [tap_at(place, then=self._stop_after_last) for place in places]
        self.trace = None
        self._lower_weights()
        if self.cache:
            self.cache.belongs_to(self, places, f'{self._built_from} {self.renormalize.swap} {self.dtype}')

    def _lower_weights(self) -> None:
        if self.dtype is None:
            return
        for module in self.model.modules():
            if not isinstance(module, _BatchNorm):
                _lower(module, self.dtype)

    def _apply(self, fn: Callable, *args: Any, **kwargs: Any) -> 'Teacher':
        """What gives the student's weights another dtype leaves the teacher its own."""
        super()._apply(fn, *args, **kwargs)
        if self.trace is None:
            self._lower_weights()
        return self

    def _make_differentiable(self) -> None:
        for setting, value in dict(cache=self.cache, compile=self._compiles).items():
            if value:
                raise ValueError(
                    f'teacher.{setting} cannot be combined with a method that matches gradients '
                    '(ovkd_mm.InputGradient), which needs the graph of each forward: remove it'
                )
        for module in self.model.modules():
            if getattr(module, 'with_cp', False) is True:  # recomputes, so that nothing can be differentiated twice
                module.with_cp = False

    def _stop_after_last(self) -> None:
        if all(tap.feature is not None for tap in self._taps):
            raise _Enough

    @torch.compiler.disable  # not with the student, whose graph it would break: it ends in its middle by an exception
    def forward(self, inputs: Tensor) -> list[Feature]:
        """Read the teacher's features.

        Args:
            inputs: Batch as the student gets it, shape ``(N, 3, H, W)``.

        Returns:
            One tensor a place, two a span, in the order of :meth:`attach`.

        Raises:
            RuntimeError: If the forward ends without passing every tap.
            ValueError: If one of its batch norms has a single value per channel to normalize by.
        """
        # FSDP moves the tensors of its own module tree one by one, so that nobody has told the teacher to move.
        if self.renormalize.scale.device != inputs.device:
            self.to(inputs.device)
        if self.cache is None:
            return self._features(inputs)
        names = self.cache.names(inputs)
        features = self.cache.read(names, inputs.device)
        if features is None:
            features = self._features(inputs)
            self.cache.write(names, features)
        return features

    def _features(self, inputs: Tensor) -> list[Feature]:
        # FSDP with mixed precision hands the student images of another dtype.
        inputs = self.renormalize(inputs.to(self.renormalize.scale.dtype))
        if inputs.shape[1] == 1:
            inputs = inputs.expand(-1, self._channels, -1, -1)  # a gray image
        with reading(self.model, self._taps), torch.set_grad_enabled(self._keep_graph):
            try:
                if self.dtype is None:
                    self._run(inputs)
                else:
                    with torch.autocast(inputs.device.type, enabled=False):
                        self._run(inputs.to(self.dtype))
            except ValueError as exc:
                if 'more than 1 value per channel' not in str(exc):  # torch's, of a batch norm
                    raise
                raise ValueError(
                    f'a batch norm of the teacher cannot normalize a batch of {len(inputs)} by itself: set '
                    "model.teacher.norm_mode='running', or, if this is the last batch of an epoch, "
                    f'train_dataloader.drop_last=True ({exc})'
                ) from exc
            return [tap.take(inputs.shape[2:]) for tap in self._taps]

    def _run(self, inputs: Tensor) -> None:
        with contextlib.suppress(_Enough):
            getattr(self.model, self._entry)(inputs)

    def train(self, mode: bool = True) -> 'Teacher':
        """Stay as set up: a teacher does not train."""
        return self

    def __deepcopy__(self, memo: dict) -> 'Teacher':
        """Copies of a student (EMA) share the teacher."""
        return self


def check_teacher(settings: Any) -> None:
    """Look at a distiller's ``teacher`` before it is built.

    Args:
        settings: As the config has it.

    Raises:
        TypeError: If it or one of its settings is of another type than it has to be.
        ValueError: If it has an unknown setting, or its model has no type.
    """
    check_settings(
        'teacher', settings, [key for key in inspect.signature(Teacher).parameters if key not in FROM_STUDENT]
    )
    model, checkpoint = settings.get('model'), settings.get('checkpoint')
    if not isinstance(model, str | dict):
        raise TypeError(f"teacher.model must be a config's path, a name or a dict, got {model!r}")
    if isinstance(model, dict) and 'type' not in model:
        raise ValueError(f'teacher.model, a dict, has no type; it has {", ".join(model) or "nothing"}')
    if not isinstance(checkpoint, str | None):
        raise TypeError(f'teacher.checkpoint must be a path or a URL, got {checkpoint!r}')
