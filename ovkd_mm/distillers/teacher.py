"""The frozen network that is learned from."""

import contextlib
from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..positions import Place, Span, SpanTap, Tap, Trace, reading, tap_at, trace
from ..registry import MODELS
from ..rng import preserve_rng_state
from ..state_dict import load_strictly, model_weights
from .renormalize import Renormalize

__all__ = ['Teacher']


class _Enough(Exception):  # noqa: N818
    """Ends a forward that has passed its last tap."""


def _model_config(model: str | dict) -> dict:
    """The model of a config path, a ``package::config`` name or a dict, told which toolkit builds it."""
    if not isinstance(model, str):
        return Config(dict(model=model)).model
    try:
        # As a base, since mmengine.hub.get_config would pip-install a toolkit that is absent.
        config = Config.fromstring(f'_base_ = {model!r}', '.py') if '::' in model else Config.fromfile(model)
    except FileNotFoundError as exc:
        raise ValueError(f'teacher.model={model!r}: no such config; give a path, mmdet::<config> or a dict') from exc
    if 'model' not in config:
        raise ValueError(f"teacher.model={model!r} has no key 'model'; it has {sorted(config)}")
    cfg = config.model
    if config.get('data_preprocessor'):
        cfg.setdefault('data_preprocessor', config.data_preprocessor)
    if config.get('default_scope'):
        cfg.setdefault('_scope_', config.default_scope)
    return cfg


def _load(model: nn.Module, checkpoint: str) -> None:
    try:
        loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu')
    except (FileNotFoundError, ValueError) as exc:
        raise type(exc)(f'teacher.checkpoint: {exc}') from exc
    # A distilled student can teach in its turn; what served its own training is left aside.
    state = {key.removeprefix('module.'): value for key, value in model_weights(loaded).items()}
    load_strictly(model, state, f'teacher.checkpoint={checkpoint!r}')


def _normalise_by_batch(model: nn.Module) -> None:
    """Let batch norms use the batch's statistics and leave their running ones alone."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            # In training mode without tracking, torch neither reads nor writes the running statistics.
            module.training = True
            module.track_running_stats = False


class Teacher(nn.Module):
    """A frozen model that is run up to its last tap.

    It is kept out of the student's module tree by its owner, and stays as it is set up here: no gradient, dropout off,
    batch norms by ``norm_mode``, running statistics untouched.

    Args:
        model: A config path, a ``package::config`` name or a model dict of any toolkit.
        checkpoint: Path or URL of its trained weights.
        student_preprocessor: The student's data preprocessor, whose normalisation the inputs carry.
        input_shape: ``(H, W)`` of the inputs, to trace the model.
        norm_mode: ``'batch'`` normalises by the batch, which the paper found better (section 3.4);
            ``'running'`` by the running statistics.
        allow_random: Accept a teacher without a checkpoint. It stays as its constructor made it; ``init_cfg``, which
            may ask for a download, is not carried out.

    Raises:
        ValueError: If there is no checkpoint, if it is not fit for the model or ``norm_mode`` is unknown.
        FileNotFoundError: If the checkpoint does not exist.
    """

    def __init__(
        self,
        model: str | dict,
        student_preprocessor: nn.Module,
        input_shape: Sequence[int],
        checkpoint: str | None = None,
        norm_mode: str = 'batch',
        allow_random: bool = False,
    ) -> None:
        super().__init__()
        if norm_mode not in ('batch', 'running'):
            raise ValueError(f"teacher.norm_mode must be 'batch' or 'running', got {norm_mode!r}")
        if checkpoint is None and not allow_random:
            raise ValueError(
                'teacher.checkpoint is not set, and an untrained teacher teaches nothing: give the path of its '
                'weights (--cfg-options model.teacher.checkpoint=...), or set teacher.allow_random=True if you mean it'
            )
        with preserve_rng_state():
            self.model = revert_sync_batchnorm(MODELS.build(_model_config(model)))
            if checkpoint is not None:
                _load(self.model, checkpoint)
        self.model.requires_grad_(False).eval()
        self.trace: Trace | None = trace(self.model, input_shape)
        if norm_mode == 'batch':
            _normalise_by_batch(self.model)
        self.renormalize = Renormalize(student_preprocessor, self.model.data_preprocessor)
        self._taps: list[Tap | SpanTap] = []

    def attach(self, places: Sequence[Place | Span]) -> None:
        """Say what :meth:`forward` returns. The trace, which holds a forward's tensors, is let go."""
        self._taps = [tap_at(place, then=self._stop_after_last) for place in places]
        self.trace = None

    def _stop_after_last(self) -> None:
        if all(tap.feature is not None for tap in self._taps):
            raise _Enough

    @torch.compiler.disable  # ends in the middle of a forward by an exception, which a compiled graph cannot
    def forward(self, inputs: Tensor, keep_graph: bool = False) -> list[Tensor | tuple[Tensor, Tensor]]:
        """Read the teacher's features.

        Args:
            inputs: Batch as the student gets it, shape ``(N, 3, H, W)``.
            keep_graph: Keep the graph from the inputs to the features; the weights have no part in it.

        Returns:
            One tensor a place, two a span, in the order of :meth:`attach`.

        Raises:
            RuntimeError: If the forward ends without passing every tap.
        """
        # FSDP moves the tensors of its own module tree one by one, so that nobody has told the teacher to move.
        if self.renormalize.scale.device != inputs.device:
            self.to(inputs.device)
        with reading(self.model, self._taps), torch.set_grad_enabled(keep_graph):
            with contextlib.suppress(_Enough):
                self.model(self.renormalize(inputs))
            return [tap.take() for tap in self._taps]

    def train(self, mode: bool = True) -> 'Teacher':
        """Stay as set up: a teacher does not train."""
        return self

    def __deepcopy__(self, memo: dict) -> 'Teacher':
        """Copies of a student (EMA) share the teacher."""
        return self
