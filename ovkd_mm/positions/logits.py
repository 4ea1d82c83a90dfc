"""Position of KD, class scores, and ``logits='auto'``: where a model puts them out."""

import math

from torch import nn
from torch.nn.modules.conv import _ConvNd
from typing_extensions import override

from ..registry import TASK_UTILS
from .call import Call
from .module_output import ModuleOutput
from .place import Place
from .trace import Trace

__all__ = ['Logits', 'auto_logits']


@TASK_UTILS.register_module()
class Logits(ModuleOutput):
    """The output of a classifier, as it is. A method with this position reads ``logits`` in place of ``pairs``."""

    listed_in = 'logits'

    @override
    def resolve(self, trace: Trace) -> Place:
        try:
            return super().resolve(trace)
        except ValueError as exc:
            scores = _scores(trace)
            raise ValueError(f'{exc}{f"; class scores come out of {scores!r}" if scores else ""}') from exc.__cause__


def auto_logits(student: Trace, teacher: Trace) -> list[dict]:
    """Join the class scores that both models return, one tensor each, as classifiers and segmentors do.

    Maps of other sizes are resized.

    Returns:
        The pair as a config would write it.

    Raises:
        ValueError: If a model returns something else, or the two differ in classes.
    """
    places = []
    for role, trace in (('student', student), ('teacher', teacher)):
        path = _scores(trace)
        if path is None:
            why = f'does not return the output of one layer: {_proposed(trace)}'
            if trace.error:
                why = f'stopped early: {trace.stopped}'
            raise ValueError(f"logits='auto' finds no class scores, since the {role} {why}")
        places.append(Logits(path).resolve(trace))
    learner, teaching = places
    if learner.channels != teaching.channels:
        raise ValueError(
            f"logits='auto' finds {learner.channels} class scores of the student ({learner.name}) and "
            f'{teaching.channels} of the teacher ({teaching.name}); name a teacher of the same classes'
        )
    pair = dict(student=learner.name, teacher=teaching.name)
    return [pair if learner.size == teaching.size else {**pair, 'resize': True}]


def _scores(trace: Trace) -> str | None:
    """The linear layer or convolution whose output is what the model returns, perhaps handed on unchanged."""
    whole = next((call.output for call in trace.calls if not call.path and call.end < math.inf), None)
    # By node: an activation in place returns the very tensor that it changed.
    made = [call.path for call in _layers(trace) if whole and call.value('output').node is whole.node]
    return made[-1] if made else None


def _layers(trace: Trace) -> list[Call]:
    """The calls of linear layers and convolutions inside the model."""
    return [call for call in trace.calls if call.path and call.output and isinstance(call.module, (nn.Linear, _ConvNd))]


def _proposed(trace: Trace) -> str:
    """How to name the scores: the layers with as many channels as something in the model says that it has classes."""
    parts = trace.calls[0].module.modules() if trace.calls else ()
    classes = {getattr(part, 'num_classes', None) for part in parts}
    layers = {call.path: trace.place(call.path, call, 'output').channels for call in _layers(trace)}
    found = [path for path, channels in layers.items() if channels in classes]
    if not found:
        return 'say where they are, such as logits=[dict(student=..., teacher=...)] with the paths of two layers'
    made = f'{", ".join(found)} put out one channel a class'
    return f'say where they are, in logits=[dict(student=..., teacher=...)]; {made}'
