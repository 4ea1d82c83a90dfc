"""One forward pass, watched, to learn where a model's activations are and what feeds them."""

import difflib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.hooks import RemovableHandle

from ..rng import preserve_rng_state
from .graph import ancestors, depth
from .place import Place

__all__ = ['Call', 'Trace', 'trace']

ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.RReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
)


@dataclass(frozen=True)
class Value:
    """A tensor as it was when the trace saw it: later operations may write into it and give it another node."""

    tensor: Tensor
    node: Node | None
    version: int

    @property
    def overwritten(self) -> bool:
        """Whether something wrote into the tensor after the trace saw it."""
        return self.tensor._version != self.version


@dataclass(eq=False)
class Call:
    """One call of one module; ``start`` and ``end`` order all calls of the forward, of which some may never end."""

    path: str
    module: nn.Module
    index: int
    input: Value | None
    start: int
    output: Value | None = None
    end: float = math.inf

    def value(self, side: Literal['input', 'output']) -> Value:
        """The tensor at one side.

        Raises:
            ValueError: If there is not one tensor.
        """
        value = self.input if side == 'input' else self.output
        if value is None:
            raise ValueError(f'the {side} of {self.path!r} is not one tensor')
        return value


def _value(candidates: Tensor | tuple[Tensor, ...]) -> Value | None:
    """The first tensor of a call's inputs, or its output if that is one tensor."""
    tensor = next(iter(candidates), None) if isinstance(candidates, tuple) else candidates
    return Value(tensor, tensor.grad_fn, tensor._version) if isinstance(tensor, Tensor) else None


class Trace:
    """The calls of one forward in their order, and the questions that positions ask about them.

    It keeps every tensor of that forward alive: use it while building, then let it go.

    Args:
        calls: Calls in order of their start.
        names: Paths of all modules of the model, called or not.
        error: What ended the forward early, if something did. What was called before it can be asked for all the same.
    """

    def __init__(self, calls: list[Call], names: list[str], error: Exception | None) -> None:
        self.calls = calls
        self.error = error
        self._names = names
        self._leaves = {
            call.output.node: call
            for call in reversed(calls)
            if call.output and call.output.node and not any(call.module.children())
        }
        self._depths: dict[Node, int] = {}

    @property
    def activation_calls(self) -> list[Call]:
        """Finished calls of activation modules."""
        return [c for c in self.calls if isinstance(c.module, ACTIVATIONS) and c.input and c.output]

    def last_call(self, path: str) -> Call:
        """The last call of the module at ``path``.

        Raises:
            ValueError: If there is no such module (the message names the nearest real ones), if the forward never
                calls it, or if it does not return one tensor.
        """
        calls = [call for call in self.calls if call.path == path]
        called = [call for call in calls if call.end < math.inf]
        if called and called[-1].output:
            return called[-1]
        why = f' (the forward stopped early: {self.error!r})' if self.error else ''
        if called:
            problem = f'does not return one tensor, but {type(called[-1].module).__name__} returns several; inside it'
        elif path in self._names:
            problem = f'exists, but the forward never calls it{why}; called nearby'
        else:
            problem = f'does not exist{why}; the nearest real ones'
        raise ValueError(f'place {path!r} {problem}: {", ".join(self._nearest(path))}') from self.error

    def _nearest(self, path: str, count: int = 5) -> list[str]:
        """Usable places that are written like ``path``, else the last ones below the part of it that is real."""
        usable = list(dict.fromkeys(call.path for call in self.calls if call.path and call.output))
        near = [] if path in self._names else difflib.get_close_matches(path, usable, count, cutoff=0.5)
        while not near and usable:
            below = [name for name in usable if not path or name.startswith(f'{path}.')]
            near = [name for name in below if name.count('.') == min(name.count('.') for name in below)][-count:]
            path = path.rpartition('.')[0]
        return near

    def activation_after(self, group: Call) -> Call | None:
        """The activation that ends ``group``, or the next one of the same spatial size that its output feeds."""
        out = group.value('output')
        ending = [a for a in self.activation_calls if a.value('output').tensor is out.tensor]
        if ending:
            return ending[-1]
        for act in self.activation_calls:
            value = act.value('input')
            if act.start > group.end and value.tensor.shape[2:] == out.tensor.shape[2:] and self._feeds(out, value):
                return act
        return None

    def norm_reading(self, group: Call) -> Call | None:
        """The batch norm that reads the output of ``group``."""
        out = group.value('output').tensor
        for call in self.calls:
            if isinstance(call.module, _BatchNorm) and call.input and call.input.tensor is out:
                return call
        return None

    def place(self, name: str, call: Call, side: Literal['input', 'output']) -> Place:
        """The place at one side of a call."""
        value = call.value(side)
        return Place(
            name=name,
            path=call.path,
            call=call.index,
            side=side,
            shape=tuple(value.tensor.shape[1:]),
            norm=self._norm_before(value),
            overwritten=value.overwritten,
        )

    def _feeds(self, source: Value, target: Value) -> bool:
        return source.node is not None and any(node is source.node for node in ancestors(target.node))

    def _norm_before(self, value: Value) -> str | None:
        """Path of the batch norm whose output reaches ``value`` through arithmetic alone.

        Where several do (a sum with a shortcut), the one with the longest path behind it is the main branch.
        """
        norms = [
            node
            for node in ancestors(value.node, stop=self._leaves)
            if node in self._leaves and isinstance(self._leaves[node].module, _BatchNorm)
        ]
        return self._leaves[max(norms, key=lambda node: depth(node, self._depths))].path if norms else None


@contextmanager
def _as_found(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without activation checkpointing, which hides the graph; everything is put back afterwards.

    Dropout in place writes into its input in training alone, and what it writes into has to be known.
    """
    modes = [(module, module.training) for module in model.modules()]
    # Blocks of the toolkits, which have no types.
    checkpointed: list[Any] = [module for module in model.modules() if getattr(module, 'with_cp', False)]
    model.eval()
    for module in model.modules():
        if isinstance(module, _DropoutNd) and module.inplace:
            module.train()
    for module in checkpointed:
        module.with_cp = False
    try:
        with preserve_rng_state():
            yield
    finally:
        for module, training in modes:
            module.training = training
        for module in checkpointed:
            module.with_cp = True


def trace(model: nn.Module, input_shape: Sequence[int]) -> Trace:
    """Run ``model`` once and record every module call.

    Weights, batch-norm statistics, modes and random-number states are left as they were found.

    Args:
        model: A model with mmengine's ``forward(inputs, data_samples, mode)``, or a plain module of one input.
        input_shape: ``(H, W)`` of the input, in pixels.

    Returns:
        The trace. A forward that fails half-way (a two-stage detector asks for data samples) leaves a shorter one.
    """
    calls: list[Call] = []
    open_calls: list[Call] = []
    counts: dict[str, int] = {}
    tick = iter(range(2**62)).__next__

    def enter(path: str) -> Callable[[nn.Module, tuple, dict], None]:
        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            inputs = tuple(x for x in (*args, *kwargs.values()) if isinstance(x, Tensor))
            call = Call(path, module, counts.get(path, 0), _value(inputs), tick())
            counts[path] = call.index + 1
            calls.append(call)
            open_calls.append(call)

        return hook

    def leave(module: nn.Module, args: tuple, output: object) -> None:
        call = open_calls.pop()
        call.output, call.end = (_value(output) if isinstance(output, Tensor) else None), tick()

    handles: list[RemovableHandle] = []
    error: Exception | None = None
    for path, module in model.named_modules():
        handles += [
            module.register_forward_pre_hook(enter(path), with_kwargs=True),
            module.register_forward_hook(leave),
        ]
    parameter = next(model.parameters())
    inputs = torch.zeros(1, 3, *input_shape, device=parameter.device, dtype=parameter.dtype, requires_grad=True)
    try:
        with _as_found(model), torch.enable_grad():
            model(inputs)
    except Exception as exc:
        # Its frames would hold all tensors of the forward, and this frame the exception: a cycle.
        error = exc.with_traceback(None)
        error.__cause__ = error.__context__ = None
    finally:
        for handle in handles:
            handle.remove()
    return Trace(calls, [path for path, _ in model.named_modules()], error)
