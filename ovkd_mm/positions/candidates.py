"""Places beside those of ``pairs='auto'`` that could be read: a backbone's blocks and a neck's outputs."""

from .auto import is_map
from .call import Call, Value
from .layers import called_by
from .trace import Trace

__all__ = ['candidates']


def candidates(trace: Trace) -> list[str]:
    """Paths of the modules that a backbone calls, of those that these call, and of a neck's outputs.

    Only those that return maps, and that hold weights other than a batch norm's.

    Returns:
        Paths for a position, in the order in which their last calls end.
    """
    neck = '.'.join([*trace.backbone.split('.')[:-1], 'neck'])
    found: dict[str, Call] = {}
    for outer in trace.calls:
        if outer.path == trace.backbone:
            stages = called_by(trace, outer)
            found |= {call.path: call for one in stages for call in [*called_by(trace, one), one] if call.has_weights}
        elif outer.path == neck:
            found[neck] = outer
    return [
        path
        for call in sorted(found.values(), key=lambda call: call.end)
        for path, value in _outputs(call)
        if is_map(trace, value)
    ]


def _outputs(call: Call) -> list[tuple[str, Value]]:
    if call.output:
        return [(call.path, call.output)]
    return [(f'{call.path}[{index}]', value) for index, value in enumerate(call.outputs)]
