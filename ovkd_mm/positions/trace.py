"""Where a model's activations are and what feeds them, told by one watched forward."""

import difflib
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Literal, cast

from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.modules.batchnorm import _BatchNorm

from .activations import FUNCTIONS, is_activation
from .call import Call, Value, split_item
from .graph import ancestors, crossings, leaves, sources_first
from .layout import Layout, layout_of
from .place import Place

__all__ = ['Trace']

PERMUTING = ('PermuteBackward', 'TransposeBackward')
# Behind them a channel may be another one's, or a part of a norm's output.
REGROUPING = tuple(
    f'{name}Backward' for name in ('Cat', 'Flip', 'Index', 'IndexSelect', 'Roll', 'Select', 'Slice', 'Split')
)


class Trace:
    """The calls of one forward in their order, and the questions that positions ask about them.

    It keeps every tensor of that forward alive: use it while building, then let it go.

    Args:
        calls: Calls in order of their start.
        names: Paths of all modules of the model, called or not.
        error: What ended the forward early, if something did. What was called before it can be asked for all the same.
        images: The input of the forward.
        entry: The method of the model that was called with it.
    """

    def __init__(
        self, calls: list[Call], names: list[str], error: Exception | None, images: Tensor, entry: str = '__call__'
    ) -> None:
        self.calls = calls
        self.entry = entry
        self.error = error
        self.images = images
        self._names = names
        self._leaves: dict[Node, Call] = {}
        for call in calls:
            node = call.output and call.output.node
            # What changes nothing (nn.Identity, dropout in evaluation) is no layer.
            changes = not call.input or call.input.node is not node
            if node and changes and not any(call.module.children()):
                self._leaves.setdefault(node, call)
        self._leaves |= {node: norm for norm, node in self._fused_norms()}
        self._activations: dict[nn.Module, bool] = {}

    @property
    def activation_calls(self) -> list[Call]:
        """Finished calls of activation modules."""
        return [call for call in self.calls if call.input and call.output and self.activates(call)]

    def activates(self, call: Call) -> bool:
        """Whether a call is one of an activation."""
        if call.module not in self._activations:
            self._activations[call.module] = is_activation(call.module)
        return self._activations[call.module]

    @property
    def stopped(self) -> str:
        """What ended the forward early, for messages."""
        kinds = type(self.calls[0].module).__mro__ if self.calls else ()
        if not any(kind.__name__ == 'BaseDetector' for kind in kinds):  # mmdet's, which the core does not import
            return repr(self.error)
        return (
            f'{self.error!r}; a trace has no data samples, so that what a detector calls after it needs them (RoI '
            "heads, a DETR's encoder and decoder) cannot be read"
        )

    @property
    def backbone(self) -> str:
        """Path of the part that features are read in: the outermost ``backbone``, else the whole model."""
        found = [name for name in self._names if name.rpartition('.')[2] == 'backbone']
        return min(found, key=lambda name: name.count('.'), default='')

    def last_call(self, path: str) -> Call:
        """The last call of the module at ``path``.

        Raises:
            ValueError: If there is no such module (the message names the nearest real ones), if the forward never
                calls it, if it does not return one tensor, or if its weights are shared by calls of several sizes.
        """
        path, item = split_item(path)
        called = [call for call in self.calls if call.path == path and call.end < math.inf]
        outputs = called[-1].outputs if called else ()
        if called and item is not None and item < len(outputs):
            return replace(called[-1], output=outputs[item], item=item)
        if called and item is None and called[-1].output:
            self._check_shared(called)
            return called[-1]
        why = f' (the forward stopped early: {self.stopped})' if self.error else ''
        name = path if item is None else f'{path}[{item}]'
        if called and item is not None:
            problem = f'does not exist: {path!r} returns {len(outputs) or 1} tensors; inside it'
        elif len(outputs) == 1:
            raise ValueError(f'place {name!r} returns no tensor, but a tuple or list of one: write {path}[0]')
        elif called:
            several = f'; {path}[0] to {path}[{len(outputs) - 1}] are its tensors' if outputs else ''
            kind = type(called[-1].module).__name__
            problem = f'does not return one tensor, but {kind} returns several{several}; inside it'
        elif path in self._names:
            problem = f'exists, but the forward never calls it{why}; called nearby'
        else:
            problem = f'does not exist{why}; the nearest real ones'
        raise ValueError(f'place {name!r} {problem}: {", ".join(self._nearest(path))}') from self.error

    def _check_shared(self, calls: list[Call]) -> None:
        """Refuse what several sizes share, itself or by what it is a part of: the last, the coarsest, is one of many.

        An activation alone may be: mmdet's blocks call one ReLU for all their layers, and it ends the block the last
        time.
        """
        path, names = calls[-1].path, calls[-1].path.split('.')
        for end in range(1, len(names) + 1):
            around = [call for call in self.calls if call.path == '.'.join(names[:end]) and call.output]
            sizes = list(dict.fromkeys(self.size(call.output) for call in around if call.output))
            if len(sizes) > 1 and around[-1].has_weights:
                break
        else:
            return
        necks = [call for call in self.calls if call.path.rpartition('.')[2] == 'neck' and len(call.outputs) > 1]
        such = f', such as {necks[0].path}[0] to {necks[0].path}[{len(necks[0].outputs) - 1}]' if necks else ''
        raise ValueError(
            f'place {path!r} is called {len(calls)} times in one forward, with outputs of '
            f'{", ".join("x".join(map(str, size)) or "no size" for size in sizes)}, and only the last would be read: '
            f'list pairs of places that are called once for each size{such}'
        )

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
        """The activation that ends ``group``, or the next one of the same spatial size that its output feeds.

        The next one lies in the same part of the model (backbone, neck or head), after at most one layer with weights,
        and after one only if nothing bypasses it: none of several parallel branches stands for the group, and neither
        does the inside of a branch that a shortcut bypasses. A group that ends in a function (``F.relu``) needs none.
        """
        out = group.value('output')
        if out.node in self._functions:
            return None
        ending = [a for a in self.activation_calls if a.value('output').tensor is out.tensor]
        if ending:
            return ending[-1]
        part = self._part(group.path)
        layers = self.layers_after(out.node) if out.node else {}
        readers = [node for node, count in layers.items() if count == 1 and self._weighs(node, part)]
        most = 1 if len(readers) == 1 else 0
        for act in self.activation_calls:
            value = act.value('input')
            if (
                act.start > group.end
                and self._part(act.path) == part
                and self.size(value) == self.size(out)
                and (count := layers.get(value.node, math.inf)) <= most
                and not (count and self._led_around(act, group))
            ):
                return act
        return None

    def _led_around(self, act: Call, group: Call) -> bool:
        """Whether a path from ``group`` bypasses ``act``, to the end of the call around ``act`` but not the group.

        What ends at another size does not count: PyramidNet's first blocks pool their shortcut, and the paper reads
        the bottleneck in them.
        """
        out = group.value('output')
        for call in self.calls:  # the outermost come first
            if group.end < call.start <= act.start and act.end <= call.end < math.inf:
                ends = (one for one in (call.output, *call.outputs) if one)
                sinks = [one.node for one in ends if one.node and self.size(one) == self.size(out)]
                if sinks and out.node:
                    return act.value('input').node not in crossings(out.node, sinks)
        return False

    def before_function(self, group: Call) -> Call | None:
        """What returns the tensor that a function such as ``F.relu`` turns into the output of ``group``.

        Returns:
            A call; ``group`` itself if no module returns that tensor, and ``None`` if no such function ends the group.
        """
        node = group.value('output').node
        if node is None or node not in self._functions:
            return None
        before = node.next_functions[0]
        return next((one for one in self.calls if one.output and (one.output.node, one.output.number) == before), group)

    def only_activated(self, value: Value) -> bool:
        """Whether a function such as ``F.relu`` is all that reads a tensor."""
        if value.node is None:
            return False
        readers = {node for node in self._nodes if (value.node, value.number) in node.next_functions}
        return bool(readers) and readers <= self._functions

    def norm_reading(self, value: Value, path: str) -> Call | None:
        """The batch norm that reads a tensor before anything else does, as in pre-activation networks.

        An activation follows it, or all that has weights and reads the tensor reads it through the norm. So the norm
        that is one of several parallel branches (RepVGG's identity) is not one.

        Args:
            value: The tensor.
            path: Of a module; the norm lies in the same part of the model (backbone, neck or head).
        """
        for call in self.calls:
            reads = isinstance(call.module, _BatchNorm) and call.input and call.input.tensor is value.tensor
            if reads and self._part(call.path) == self._part(path) and self._opens(call, value):
                return call
        return None

    def _opens(self, norm: Call, value: Value) -> bool:
        """Whether a norm that reads a tensor opens what comes after it: see :meth:`norm_reading`."""
        out = norm.value('output')
        modules = (act.value('input').node for act in self.activation_calls)
        functions = (node.next_functions[0][0] for node in self._functions)
        if any(norm.module.children()) or (out.node and out.node in (*modules, *functions)):
            return True
        before, after = (self.layers_after(one.node) if one.node else {} for one in (value, out))
        return all(node in after for node, count in before.items() if count == 1 and self._weighs(node))

    def place(self, name: str, call: Call, side: Literal['input', 'output']) -> Place:
        """The place at one side of a call."""
        value = call.value(side)
        layout = self.layout(value)
        shape = layout.to_nchw(value.tensor.detach()).shape
        return Place(
            name=name,
            path=call.path,
            call=call.index,
            side=side,
            shape=tuple(shape[1:] if len(shape) > 1 else shape),  # LeNet squeezes a batch of one away
            norm=self._norm_before(value),
            overwritten=value.overwritten,
            item=call.item if side == 'output' else None,
            layout=layout,
        )

    def layout(self, value: Value) -> Layout:
        """How a tensor is laid out, told by its shape and, where that leaves it open, by what computed it."""
        return layout_of(value.tensor.shape, self.images.shape[2:], self._channels_last(value))

    def _channels_last(self, value: Value) -> bool:
        """Whether it was computed, in this order of dimensions, by a linear layer or a layer norm.

        They may be followed by arithmetic, as in a residual sum. A LayerNorm2d puts the channels last and back.
        """
        for node in ancestors(value.node, stop=self._reordered):
            layer = self._leaves.get(node)
            if layer and layer.output and isinstance(layer.module, (nn.Linear, nn.LayerNorm)):
                same = layer.output.tensor.shape == value.tensor.shape
                if same and not _permuted(node):
                    return True
        return False

    def size(self, value: Value) -> tuple[int, ...]:
        """Spatial size of a tensor, whatever its layout."""
        return tuple(self.layout(value).to_nchw(value.tensor.detach()).shape[2:])

    def learns(self, value: Value) -> bool:
        """Whether a tensor depends on a trained parameter."""
        return any(leaf is not self.images for leaf in leaves(value.node))

    def _part(self, path: str) -> str:
        """What lies beside the backbone, such as the neck, or the backbone itself."""
        depth = self.backbone.count('.') + 1 if self.backbone else 0
        return '.'.join(path.split('.')[:depth])

    @property
    def source(self) -> Node:
        """Where the graph begins: the images."""
        # As torch.autograd.graph.get_gradient_edge does it, which torch 2.1 lacks.
        view = cast(Node, self.images.view_as(self.images).grad_fn)
        return cast(Node, view.next_functions[0][0])

    def layers_after(self, source: Node) -> dict[Node | None, int]:
        """For each node computed from ``source``: the most layers with weights on any path to it."""
        counts: dict[Node | None, int] = {source: 0}
        for node in self._nodes:
            before = [counts[one] for one, _ in node.next_functions if one in counts]
            if before and node is not source:
                counts[node] = max(before) + self._weighs(node)
        return counts

    def _weighs(self, node: Node | None, part: str | None = None) -> bool:
        """Whether a node is the output of a layer with weights (convolution or linear) in one part of the model."""
        layer = self._leaves.get(node) if node else None
        if layer is None or part not in (None, self._part(layer.path)):
            return False
        return layer.has_weights

    @cached_property
    def _nodes(self) -> list[Node]:
        """All that was computed, each after what it was computed from."""
        values = [value for call in self.calls for value in (call.input, call.output, *call.outputs) if value]
        return sources_first(value.node for value in values if value.node)

    @cached_property
    def _depths(self) -> dict[Node, int]:
        """For each the number of nodes on the longest path back to a leaf."""
        depths: dict[Node, int] = {}
        for node in self._nodes:
            depths[node] = 1 + max((depths[one] for one, _ in node.next_functions if one), default=0)
        return depths

    @cached_property
    def _reordered(self) -> set[Node]:
        """Layers, and where dimensions change their order."""
        return self._leaves.keys() | {node for node in self._nodes if node.name().startswith(PERMUTING)}

    @cached_property
    def _regrouped(self) -> set[Node]:
        """Layers, functions, and what mixes channels: between them a channel stays what it was."""
        return self._leaves.keys() | self._functions | {n for n in self._nodes if n.name().startswith(REGROUPING)}

    @cached_property
    def _functions(self) -> set[Node]:
        """Where an activation was called as a function, not as a module."""
        return {node for node in self._nodes if node.name() in FUNCTIONS and node not in self._leaves}

    def _fused_norms(self) -> Iterator[tuple[Call, Node]]:
        """Batch norms that call their activation themselves (timm's ``BatchNormAct2d``), and what that one reads."""
        for norm in self.calls:
            if isinstance(norm.module, _BatchNorm) and any(norm.module.children()):
                inside = (call.input for call in self.calls if norm.start < call.start and call.end < norm.end)
                read = next(inside, None)
                if read and read.node:
                    yield norm, read.node

    def _norm_before(self, value: Value) -> str | None:
        """Path of the batch norm whose output reaches ``value`` through arithmetic alone, channel by channel.

        Where several do (a sum with a shortcut), the one with the longest path behind it is the main branch. Where
        branches are equally long (RepVGG), none speaks for their sum.
        """
        norms = [
            node
            for node in ancestors(value.node, stop=self._regrouped)
            if node in self._leaves and isinstance(self._leaves[node].module, _BatchNorm)
        ]
        longest = max((self._depths[node] for node in norms), default=0)
        main = [node for node in norms if self._depths[node] == longest]
        return self._leaves[main[0]].path if len(main) == 1 else None


def _permuted(node: Node | None) -> bool:
    """Whether the last thing that computed a tensor, but for ``contiguous()``, is a change of its dimensions' order."""
    while node is not None and node.name().startswith('CloneBackward'):
        node = node.next_functions[0][0]
    return node is not None and node.name().startswith(PERMUTING)
