"""``pairs='auto'``: places of a backbone, found in the graph of its forward, and pairs of them."""

import logging
import math
from collections import defaultdict
from collections.abc import Iterable

from mmengine.logging import print_log

from .call import Call, Value
from .graph import crossings, leaves
from .trace import Trace

__all__ = ['auto_pairs', 'auto_places', 'is_map']

Size = tuple[int, ...]


def auto_places(trace: Trace) -> dict[Size, list[str]]:
    """Where a backbone's stages end, as paths for a position.

    If a backbone returns several feature maps, these are its places. If it returns one map, or vectors, the place for
    each spatial size is the last tensor that every path from the image to it crosses. The output of a single
    convolution on the image is a stem, which is not a place if there are others.

    Returns:
        Paths by spatial size, the largest map first; within one size (dilated stages) the earliest first. Empty for a
        backbone whose forward stopped early.

    Raises:
        ValueError: If the forward never calls the backbone.
    """
    backbone = _last(trace, trace.backbone)
    if backbone.end == math.inf:
        return {}
    outputs = [value for value in (backbone.outputs or (backbone.output,)) if value and value.node]
    maps = [value for value in outputs if _size(trace, value)]
    inside = [call for call in trace.calls if backbone.start < call.start and call.end < backbone.end]
    names = _names(inside)
    # Those that the backbone makes itself, outside of the modules in it.
    own = {
        one: f'{trace.backbone}[{backbone.outputs.index(one)}]' if backbone.outputs else trace.backbone
        for one in maps
        if _key(one) not in names
    }
    if len(maps) > 1:
        found = [(one, own.get(one) or names[_key(one)]) for one in maps]
    else:
        found = _ends_of_stages(trace, inside, names, outputs, own)
    places: dict[Size, list[str]] = defaultdict(list)
    for value, name in found:
        places[_size(trace, value)].append(name)
    return dict(sorted(places.items(), key=lambda item: -math.prod(item[0])))


def auto_pairs(student: Trace, teacher: Trace) -> list[dict]:
    """Join the places of :func:`auto_places` that have the same spatial size.

    If one model has more places of a size than the other, those of equal names are joined, or else the last ones.

    Places of the student with nothing trained before them are left out, and so are places of either model whose size
    the other does not have; the log names them.

    Returns:
        Pairs as a config would write them, largest map first.

    Raises:
        ValueError: If no spatial size is common to both, or nothing before the student's places is trained.
    """
    places, teachers = auto_places(student), auto_places(teacher)
    students = _trained(student, places)
    if places and not students:
        raise ValueError(
            "pairs='auto' found no place of the student with a trained weight before it: its whole backbone is frozen, "
            'so that no pair could teach it anything. Unfreeze some of it (frozen_stages), or write out pairs behind it'
        )
    pairs = [
        dict(student=learner, teacher=teaching)
        for size in students
        for learner, teaching in _joined(students[size], teachers.get(size, []))
    ]
    if not pairs:
        why = ''.join(
            f'; the forward of the {name} stopped early: {trace.stopped}'
            for name, trace in (('student', student), ('teacher', teacher))
            if trace.error
        )
        raise ValueError(
            f"pairs='auto' found no spatial size common to the student ({list(students)}) and the teacher "
            f'({list(teachers)}); write the pairs out, with resize=True where sizes differ{why}'
        )
    for owner, own, other, others in (
        ('teacher', teachers, 'student', places),
        ('student', students, 'teacher', teachers),
    ):
        if left := [name for size, names in own.items() if size not in others for name in names]:
            print_log(
                f"pairs='auto' leaves out {', '.join(left)} of the {owner}: no stage of the {other} has the size. "
                'Pairs that are written out may differ in size, with resize=True',
                logger='current',
            )
    _tell_if_little_is_taught(student, [pair['student'] for pair in pairs])
    return pairs


def _joined(students: list[str], teachers: list[str]) -> list[tuple[str, str]]:
    both = [name for name in students if name in teachers]
    if len(students) != len(teachers) and both:
        return [(name, name) for name in both]
    count = min(len(students), len(teachers))
    return list(zip(students[-count:], teachers[-count:], strict=True)) if count else []


def _trained(student: Trace, places: dict[Size, list[str]]) -> dict[Size, list[str]]:
    """The student's places with trained weights before them."""
    trained: dict[Size, list[str]] = {}
    frozen = []
    for size, names in places.items():
        for name in names:
            if student.learns(student.last_call(name).value('output')):
                trained.setdefault(size, []).append(name)
            else:
                frozen.append(name)
    if frozen:
        print_log(f"pairs='auto' leaves out {', '.join(frozen)}: all before is frozen in the student", logger='current')
    return trained


def _tell_if_little_is_taught(student: Trace, names: list[str]) -> None:
    """Warn if most of the student's backbone lies after or beside the places, where none of their gradients arrive."""
    weights = [one for one in _last(student, student.backbone).module.parameters() if one.requires_grad]
    before = {id(leaf) for name in names for leaf in leaves(student.last_call(name).value('output').node)}
    share = sum(one.numel() for one in weights if id(one) in before) / sum(one.numel() for one in weights)
    if share < 0.5:
        print_log(
            f"pairs='auto' found {', '.join(names)} in the student; only {share:.0%} of its backbone's weights lie "
            'before; no other weights learn from the teacher. tools/positions.py --all shows further places, to write '
            'out as pairs',
            logger='current',
            level=logging.WARNING,
        )


def _last(trace: Trace, path: str) -> Call:
    calls = [call for call in trace.calls if call.path == path]
    if not calls:
        why = f' (it stopped early: {trace.stopped})' if trace.error else ''
        raise ValueError(f"pairs='auto' looks at {path!r}, which the forward never calls{why}; write the pairs out")
    return calls[-1]


def _size(trace: Trace, value: Value) -> Size:
    """Spatial size of a map with a gradient, else nothing: a size of 1x1 is a gate or a pooled vector, not a map."""
    size = trace.size(value)
    return size if value.node is not None and len(size) == 2 and size != (1, 1) else ()


def is_map(trace: Trace, value: Value) -> bool:
    """Whether a tensor has a grid of more than one position and a gradient."""
    return bool(_size(trace, value))


def _key(value: Value) -> tuple:
    return value.node, value.number


def _names(calls: Iterable[Call]) -> dict[tuple, str]:
    """For each tensor the outermost module whose last call returns it."""
    last = {call.path: call for call in calls}
    names: dict[tuple, str] = {}
    for call in sorted(last.values(), key=lambda call: (call.path.count('.'), call.start)):
        if call.output and call.output.node:
            names.setdefault(_key(call.output), call.path)
    return names


def _ends_of_stages(
    trace: Trace, inside: list[Call], names: dict[tuple, str], outputs: list[Value], own: dict[Value, str]
) -> list[tuple[Value, str]]:
    """For each size the last tensor on every path: the output of a module that computes something, or of the backbone.

    If a backbone returns only vectors (two branches, each pooled), each vector has crossings of its own.
    """
    nodes = [value.node for value in outputs] or [call.output.node for call in inside[-1:] if call.output]
    sinks = [node for node in nodes if node]
    together = any(_size(trace, value) for value in outputs)
    ends = [call for call in sorted(inside, key=lambda call: call.end) if _ends_a_map(trace, call, names)]
    kept: set[str] = set()
    for some in [sinks] if together else [[sink] for sink in sinks]:
        crossed = crossings(trace.source, some).items()
        row = [call for call in ends if _key(call.value('output')) in crossed]
        last = {_size(trace, call.value('output')): call.path for call in row if not _opens(trace, call, inside, row)}
        kept |= set(last.values())
    sizes = {_size(trace, value) for value in own}
    values = [(call.value('output'), call.path) for call in ends if call.path in kept]
    found = [*((value, path) for value, path in values if _size(trace, value) not in sizes), *own.items()]
    layers = trace.layers_after(trace.source)
    return [(value, name) for value, name in found if layers[value.node] > 1] or found


def _ends_a_map(trace: Trace, call: Call, names: dict[tuple, str]) -> bool:
    """Whether a call is the outermost and last that returns a map, and one that computes something."""
    value = call.output
    if not value or not value.node or names.get(_key(value)) != call.path:
        return False
    computes = trace.activates(call) or any(True for _ in call.module.parameters())
    return is_map(trace, value) and computes


def _opens(trace: Trace, call: Call, calls: list[Call], row: list[Call]) -> bool:
    """Whether a call is the first part of one that takes maps of its size and makes maps of one smaller size of them.

    Args:
        trace: The model's trace.
        call: One of ``row``.
        calls: All that could have it as a part.
        row: Calls that every path crosses. What makes several smaller sizes of them is a trunk, in which a stage ends.
    """
    size = _size(trace, call.value('output'))
    for outer in calls:
        if outer.start < call.start and call.end < outer.end and outer.input and trace.size(outer.input) == size:
            within = [one.output for one in row if outer.start < one.start and one.end < outer.end]
            sizes = {_size(trace, value) for value in (outer.output, *within) if value}
            smaller = [one for one in sizes if one and math.prod(one) < math.prod(size)]
            if outer.output and _size(trace, outer.output) in smaller and len(smaller) == 1:
                return True
    return False
