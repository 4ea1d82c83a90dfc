"""Tables of a network's places, and of what pairs of them cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from rich import box
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from ..distillers.feature_pair import FeaturePair
from ..functional import batch_norm_margin
from ..launch.positions import Network
from ..positions import Place, Position, Span, Trace, auto_places, candidates
from ..registry import TASK_UTILS

__all__ = [
    'Cost',
    'Row',
    'connector_name',
    'cost_of',
    'in_short',
    'pairs_table',
    'places_table',
    'rows_of',
    'shape_text',
    'stride',
]


@dataclass(frozen=True)
class Row:
    """A place of a network.

    Attributes:
        path: What a pair says.
        place: Where that reads; None where the position finds nothing to read.
        trained: Whether something before it is trained.
        auto: Whether ``pairs='auto'`` takes it.
    """

    path: str
    place: Place | None
    trained: bool
    auto: bool


@dataclass(frozen=True)
class Cost:
    """What a pair adds to a training of the student.

    Attributes:
        parameters: Number of the connector's parameters.
        macs: Multiply-adds of its convolutions and matrix products for an image.
    """

    parameters: int
    macs: int


def rows_of(network: Network, position: dict, teaches: bool, every: bool = False) -> list[Row]:
    """The places of a network that a position finds.

    Args:
        network: Traced.
        position: Config of the position.
        teaches: Whether it is a teacher, of which frozen places are as good as others.
        every: Not only the places of ``pairs='auto'``.
    """
    trace = network.trace
    autos = [path for paths in auto_places(trace).values() for path in paths]
    paths = list(dict.fromkeys([*candidates(trace), *autos])) if every else autos
    rows = []
    for path in sorted(paths, key=lambda path: trace.last_call(path).end):
        trained = trace.learns(trace.last_call(path).value('output'))
        auto = path in autos and (teaches or trained)
        for place in _ends(TASK_UTILS.build({**position, 'path': path}), trace):
            rows.append(Row(path, place, trained, auto and place is not None))
    return rows


def places_table(network: Network, rows: Iterable[Row], role: str = '') -> Table:
    """The rows as a table.

    Args:
        network: Whose places they are.
        rows: Of :func:`rows_of`.
        role: ``'student'``, whose margins nobody asks for, ``'teacher'``, all of which is frozen, or nothing.
    """
    title = f'{role} {network.name}: {in_short(network.parameters)} parameters'.lstrip()
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify='left', padding=(0, 1, 0, 0))
    columns = ['', 'place', 'reads', 'CxHxW', 'layout', 'stride', 'batch norm']
    columns += [] if role == 'student' else ['margin']
    columns += [] if role == 'teacher' else ['trained']
    for name in columns:
        table.add_column(name, overflow='fold', no_wrap=name not in ('reads', 'batch norm'))
    for row in rows:
        place = row.place
        if place is None:
            table.add_row('', row.path, 'nothing for this method')
            continue
        cells = [
            '*' if row.auto else '',
            row.path,
            _reads(place),
            shape_text(place.shape),
            str(place.layout),
            stride(network, place),
            _below(place.norm, row.path) if place.norm else '-',
        ]
        cells += [] if role == 'student' else [_margin(network, place)]
        cells += [] if role == 'teacher' else ['yes' if row.trained else 'frozen']
        table.add_row(*cells)
    return table


def pairs_table(student: Network, pairs: Iterable[FeaturePair]) -> Table:
    """What each pair joins and costs, and all together.

    Args:
        student: Learns.
        pairs: As a distiller builds them.
    """
    table = Table(box=box.SIMPLE_HEAD, title='pairs', title_justify='left', padding=(0, 1, 0, 0))
    for name in ('student', 'teacher', 'HxW', 'connector', 'parameters', 'of the student', 'MACs'):
        table.add_column(name, justify='right' if name in ('parameters', 'of the student', 'MACs') else 'left')
    costs = []
    for pair in pairs:
        costs.append(cost_of(pair))
        names = pair.student_place.name, pair.teacher_place.name, shape_text(pair.teacher_place.size)
        table.add_row(*names, connector_name(pair), *_cost_cells(costs[-1], student))
    whole = Cost(sum(cost.parameters for cost in costs), sum(cost.macs for cost in costs))
    table.add_section()
    table.add_row('all', '', '', '', *_cost_cells(whole, student))
    return table


def cost_of(pair: FeaturePair) -> Cost:
    """What the connector of a pair costs, by torch's count of its operations."""
    parameters = sum(parameter.numel() for parameter in pair.student_transform.parameters())
    if pair.takes_inputs:  # a gradient, which has no operations of its own to count
        return Cost(parameters, 0)
    connector, training = pair.student_transform, pair.student_transform.training
    features = [
        torch.zeros(1, end.channels, *(pair.teacher_place.size if pair.resize else end.size))
        for end in pair.student_place.ends
    ]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        connector.eval()(tuple(features) if isinstance(pair.student_place, Span) else features[0])
    connector.train(training)
    return Cost(parameters, counter.get_total_flops() // 2)


def stride(network: Network, place: Place) -> str:
    """The input's size over the grid's; both of them where height and width differ."""
    sides = zip(network.trace.images.shape[2:], place.size, strict=False)
    return 'x'.join(dict.fromkeys(f'{image / grid:.3g}' for image, grid in sides))


def shape_text(shape: Iterable[int]) -> str:
    """A shape such as 64x56x56."""
    return 'x'.join(map(str, shape))


def _ends(position: Position, trace: Trace) -> Sequence[Place | None]:
    try:
        return position.resolve(trace).ends
    except ValueError:  # the ends of a group whose layers take lists
        return [None]


def _cost_cells(cost: Cost, student: Network) -> list[str]:
    return [in_short(cost.parameters), f'{100 * cost.parameters / student.parameters:.1f} %', in_short(cost.macs)]


def connector_name(pair: FeaturePair) -> str:
    """The student transform and, where it has weights, from how many channels it leads to how many."""
    name, ends = type(pair.student_transform).__name__, (pair.student_place.channels, pair.teacher_place.channels)
    has_weights = any(True for _ in pair.student_transform.parameters())
    return f'{name} {ends[0]} to {ends[1]}' if has_weights else name


def _reads(place: Place) -> str:
    side = place.side if place.item is None else f'{place.side} {place.item}'
    if place.path == place.name:
        return f'its {side}'
    call = f', call {place.call}' if place.call else ''
    return f'{side} of {_below(place.path, place.name)}{call}'


def _below(path: str, place: str) -> str:
    """A path, without the place's own where it is below that."""
    return path.removeprefix(place) if path.startswith(f'{place}.') else path


def _margin(network: Network, place: Place) -> str:
    """How OFD's margin comes about; its range over the channels where the weights are trained ones."""
    if place.activated is None:
        return '-'
    if not place.activated:
        return 'no activation'
    norm = place.norm and network.model.get_submodule(place.norm)
    if not norm:
        return 'running'
    if not network.loaded or not norm.affine:
        return 'closed form'
    margin = batch_norm_margin(norm.get_parameter('weight'), norm.get_parameter('bias'))
    return f'{margin.min():.2f} to {margin.max():.2f}'


def in_short(number: int) -> str:
    """A number such as 3.50 M."""
    for unit, size in (('G', 1e9), ('M', 1e6), ('k', 1e3)):
        if number >= size:
            return f'{number / size:.2f} {unit}'
    return str(number)
