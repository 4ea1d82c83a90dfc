"""Position of KD, class scores, and ``logits='auto'``: where a model puts them out."""

import math

from torch import nn
from torch.nn.modules.conv import _ConvNd
from typing_extensions import override

from ..registry import TASK_UTILS
from .module_output import ModuleOutput
from .place import Place
from .trace import Trace

__all__ = ['Logits', 'auto_logits']


@TASK_UTILS.register_module()
class Logits(ModuleOutput):
    """The output of a classifier, as it is. A method with this position joins ``logits`` in place of ``pairs``."""

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

    Returns:
        The pair as a config would write it.

    Raises:
        ValueError: If a model returns something else, or the two differ in classes or size.
    """
    pair, shapes = {}, []
    for role, trace in (('student', student), ('teacher', teacher)):
        path = _scores(trace)
        if path is None:
            raise ValueError(
                f"logits='auto' finds no class scores, since the {role} does not return the output of one layer: say "
                "where they are, such as logits=[dict(student='head.fc', teacher='head.fc')]"
            )
        pair[role] = path
        shapes.append(Logits(path).resolve(trace).shape)
    if shapes[0] != shapes[1]:
        resized = dict(pair, resize=True)
        fix = f'logits=[{resized}]' if shapes[0][0] == shapes[1][0] else 'a teacher of the same classes'
        found = [f'{"x".join(map(str, shape))} ({path})' for shape, path in zip(shapes, pair.values(), strict=True)]
        raise ValueError(
            f"logits='auto' finds scores of unequal shape, the student's {found[0]} and the teacher's {found[1]}; "
            f'name {fix}'
        )
    return [pair]


def _scores(trace: Trace) -> str | None:
    """The linear layer or convolution whose output is what the model returns."""
    whole = next((call.output for call in trace.calls if not call.path and call.end < math.inf), None)
    made = [call for call in trace.calls if whole and call.output and call.output.tensor is whole.tensor]
    if not made or not isinstance(made[-1].module, (nn.Linear, _ConvNd)):
        return None
    return made[-1].path or None
