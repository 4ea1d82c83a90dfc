"""One forward pass, watched: every call of every module, and the model left as it was found."""

import itertools
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils._pytree import tree_flatten
from torch.utils.hooks import RemovableHandle

from ..rng import preserve_rng_state
from ..toolkits import image_preprocessor
from .call import Call, Value
from .trace import Trace

__all__ = ['trace']


@contextmanager
def _as_found(model: nn.Module, training: bool) -> Iterator[None]:
    """Layers in evaluation, and no activation checkpointing, which hides the graph; all is put back afterwards.

    Modules that call others or have weights are in the mode of the trace: some take or return more in training (DDRNet,
    PIDNet, TridentNet). Dropout in place writes into its input in training alone, and what it writes into has to be
    known.
    """
    modes = [(module, module.training) for module in model.modules()]
    # Statistics, and what spectral norms hold, are written to in training.
    buffers = [(module, dict(module._buffers)) for module in model.modules()]
    values = [(buffer, buffer.clone()) for buffer in model.buffers()]
    # Blocks of the toolkits, which have no types.
    checkpointed: list[Any] = [module for module in model.modules() if getattr(module, 'with_cp', False)]
    model.eval()
    for module in model.modules():
        if isinstance(module, _DropoutNd) and module.inplace:
            module.train()
        elif training and _is_more_than_dropout(module) and not isinstance(module, _BatchNorm):
            module.training = True
    for module in checkpointed:
        module.with_cp = False
    try:
        with preserve_rng_state():
            yield
    finally:
        for module, training in modes:
            module.training = training
        for module, held in buffers:
            module._buffers.update(held)
        with torch.no_grad():
            for buffer, value in values:
                buffer.copy_(value)
        for module in checkpointed:
            module.with_cp = True


def _is_more_than_dropout(module: nn.Module) -> bool:
    return any(True for _ in itertools.chain(module.children(), module.parameters()))


def _run(forward: Callable[[Tensor], Any], inputs: Tensor) -> Exception | None:
    """Run a forward; what ended it early, if something did."""
    try:
        forward(inputs)
    except Exception as exc:
        if not str(exc):  # an assertion, which only its line tells from others
            frame = traceback.extract_tb(exc.__traceback__)[-1]
            exc.args = (f'{frame.filename}:{frame.lineno}',)
        # Its frames would hold all tensors of the forward, and this frame the exception: a cycle.
        exc.__cause__ = exc.__context__ = None
        return exc.with_traceback(None)
    return None


def _channels(model: nn.Module) -> int:
    """Number of channels of the images: what the preprocessor normalizes, else what the first convolution takes.

    Three if any convolution of the backbone takes three, since the first in the module tree need not be the first that
    runs; and if the first takes 12 or 48, an RGB image whose pixels are folded into channels (YOLOX's Focus).
    """
    mean = getattr(image_preprocessor(getattr(model, 'data_preprocessor', None)), 'mean', None)
    modules = getattr(model, 'backbone', model).modules()
    taken = [module.in_channels for module in modules if isinstance(module, nn.Conv2d)]
    # One value is that of a gray image or of all channels.
    if isinstance(mean, Tensor) and (len(mean) > 1 or not taken or 1 in taken):
        return len(mean)
    taken = taken or [3]
    return 3 if 3 in taken or taken[0] in (12, 48) else taken[0]


def trace(model: nn.Module, input_shape: Sequence[int], training: bool = False) -> Trace:
    """Run ``model`` once and record every module call.

    Weights, batch-norm statistics, modes and random-number states are left as they were found.

    Args:
        model: A model with mmengine's ``forward(inputs, data_samples, mode)``, or a plain module of one input.
        input_shape: ``(H, W)`` of the input, in pixels.
        training: Whether the model will be run in training, where some return more than in evaluation.

    Returns:
        The trace. A forward that fails half-way (a two-stage detector asks for data samples) leaves a shorter one; if
        it fails at once, ``extract_feat`` is run instead.
    """
    calls: list[Call] = []
    open_calls: list[Call] = []
    counts: dict[str, int] = {}
    tick = itertools.count().__next__

    def enter(path: str) -> Callable[[nn.Module, tuple, dict], None]:
        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            inputs = tuple(x for x in (*args, *kwargs.values()) if isinstance(x, Tensor))
            value = Value.of(inputs[0]) if inputs else None
            call = Call(path, module, counts.get(path, 0), value, tick())
            counts[path] = call.index + 1
            calls.append(call)
            open_calls.append(call)

        return hook

    def leave(module: nn.Module, args: tuple, output: object) -> None:
        call = open_calls.pop()
        call.end = tick()
        if isinstance(output, Tensor):
            call.output = Value.of(output)
        else:
            call.outputs = tuple(Value.of(one) for one in tree_flatten(output)[0] if isinstance(one, Tensor))

    handles: list[RemovableHandle] = []
    for path, module in model.named_modules():
        handles += [
            module.register_forward_pre_hook(enter(path), with_kwargs=True),
            module.register_forward_hook(leave),
        ]
    entry = '__call__'
    parameter = next(model.parameters())
    inputs = torch.zeros(
        1, _channels(model), *input_shape, device=parameter.device, dtype=parameter.dtype, requires_grad=True
    )
    try:
        with _as_found(model, training), torch.enable_grad():
            error = _run(model, inputs)
            extract: Any = getattr(model, 'extract_feat', None)
            if error and len(calls) <= 1 and extract:  # it stopped at once: some ask for data samples
                open_calls.clear()
                entry = 'extract_feat'
                _run(extract, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return Trace(calls, [path for path, _ in model.named_modules()], error, inputs, entry)
