"""``pairs='auto'``: pairs that the config does not name."""

from .trace import Trace

__all__ = ['auto_pairs']


def _last_of_each_size(trace: Trace) -> dict[tuple[int, ...], str]:
    """Path of the last activation of each spatial size, in the backbone if the model has one."""
    # A path stands for the module's last call: a ReLU that a strided block shares counts for the size it ends with.
    last_calls = {call.path: call for call in trace.activation_calls}
    calls = sorted(last_calls.values(), key=lambda call: call.start)
    backbone = [call for call in calls if call.path.startswith('backbone.')]
    places: dict[tuple[int, ...], str] = {}
    for call in backbone or calls:
        size = tuple(call.value('input').tensor.shape[2:])
        # A size of 1x1 is a gate (squeeze-and-excitation) or a pooled vector, not a feature map.
        if len(size) == 2 and size != (1, 1):
            places[size] = call.path
    return places


def auto_pairs(student: Trace, teacher: Trace) -> list[dict]:
    """Join the last place of each spatial size that student and teacher share.

    Returns:
        Pairs as a config would write them, largest map first.

    Raises:
        ValueError: If no spatial size is common to both.
    """
    students, teachers = _last_of_each_size(student), _last_of_each_size(teacher)
    sizes = sorted(students.keys() & teachers.keys(), reverse=True)
    if not sizes:
        raise ValueError(
            f"pairs='auto' found no spatial size common to the student ({sorted(students, reverse=True)}) and the "
            f'teacher ({sorted(teachers, reverse=True)}); write the pairs out, with resize=True where sizes differ'
        )
    return [dict(student=students[size], teacher=teachers[size]) for size in sizes]
