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
            raise ValueError(
                f"logits='auto' finds no class scores, since the {role} does not return the output of one layer: say "
                "where they are, such as logits=[dict(student='head.fc', teacher='head.fc')]"
            )
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
    """The linear layer or convolution whose output is what the model returns."""
    whole = next((call.output for call in trace.calls if not call.path and call.end < math.inf), None)
    made = [call for call in trace.calls if whole and call.output and call.output.tensor is whole.tensor]
    if not made or not isinstance(made[-1].module, (nn.Linear, _ConvNd)):
        return None
    return made[-1].path or None
