"""What ``tools/positions.py`` says of a model, or of a student and its teacher, and what it writes."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ..checkpoints.atomic_save import write_whole
from ..config_files import is_distillation
from ..distillers.build_pairs import AUTO, listed_in
from ..distillers.channel_order import loaded_order, seen_order
from ..distillers.feature_pair import FeaturePair
from ..distillers.foreign import source_of
from ..launch.positions import Network, TracedNetworks, join, read_networks
from ..launch.write_distillation import check_free, write_distillation
from ..method_files import default_method, methods_of, read_method
from ..positions import Place, Span
from .pairs_picture import Column, Join, Stage, pairs_svg
from .places import connector_name, in_short, pairs_table, places_table, rows_of, shape_text, stride
from .say import say

__all__ = ['Options', 'show_positions']

WIDTH = 120  # where the output goes to a file


@dataclass(frozen=True)
class Options:
    """What to show, and what to write.

    Attributes:
        config: A config or ``package::config`` name.
        teacher: Another one.
        method: Name of a file of methods.
        every: Show more places than those of ``pairs='auto'``.
        input_shape: ``(H, W)`` in pixels.
        checkpoint: Weights of the teacher, or of the model that has none.
        write: The distillation config to write.
        svg: The picture to write; ``Path()``: beside ``write``.
    """

    config: str
    teacher: str | None = None
    method: str | None = None
    every: bool = False
    input_shape: Sequence[int] | None = None
    checkpoint: str | None = None
    write: Path | None = None
    svg: Path | None = None


def show_positions(options: Options) -> None:
    """Print tables of places and pairs, and write what is asked for.

    Raises:
        ValueError: If a file is there already, the method is unknown, the networks have no size in common, or
            something else is wrong with the options or the configs.
        FileNotFoundError: If there is no such config.
    """
    svg = _picture_file(options)
    if options.write:
        check_free(options.write, '.py', '--write')
    if svg:
        check_free(svg, '.svg', '--svg')
    if options.method:
        read_method(options.method)
    asked = read_networks(options.config, options.teacher, options.input_shape, options.checkpoint)
    own = is_distillation(asked.config)
    if (options.write or svg) and len(asked.networks) == 1:
        raise ValueError(f'{"--write" if options.write else "--svg"} needs a TEACHER_CONFIG after CONFIG')
    if options.write and own:
        raise ValueError('--write needs the plain config of a student; CONFIG is a distillation already')
    name = options.method or default_method(asked.config.get('default_scope'), asked.input_shape.size)
    told = asked.config.model.get('method') if own else None
    if own and not options.method and not told:
        raise ValueError(
            f'the config {str(options.config)!r} is a distillation without model.method; name one: --method'
        )
    methods = methods_of(told if told and not options.method else name)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    say(console, f'input {shape_text(asked.input_shape.size)} ({asked.input_shape.source})')
    say(console, f'method {"of the config" if own and not options.method else name}')
    position = _position(methods)
    _show_places(console, asked, position, options)
    if len(asked.networks) == 1:
        return
    student, teacher = asked.networks
    places: dict[str, Any] = {name: asked.config.model.get(name, 'auto') if own else 'auto' for name in AUTO}
    key = listed_in(methods[0])
    if places[key] == 'auto':
        places[key] = AUTO[key](student.trace, teacher.trace)
    built = [pair for one in methods for pair in join(student, teacher, one, **places)]
    console.print(pairs_table(student, built))
    if options.write:
        # A model that leaves the channels as they are sees them as its images are loaded.
        order = None if seen_order(student.model.get_submodule('data_preprocessor')) else loaded_order(asked.config)
        shape, checkpoint = asked.input_shape.size, options.checkpoint
        found = {key: places[key]}
        write_distillation(options.write, options.config, str(options.teacher), name, found, shape, checkpoint, order)
        train = (
            ''
            if checkpoint or source_of(options.teacher or '')
            else ' --cfg-options model.teacher.checkpoint=TEACHER.pth'
        )
        say(console, f'{options.write} is written: python tools/train.py {shlex.quote(str(options.write))}{train}')
    if svg:
        columns = (
            _column(student, position, [pair.student_place for pair in built]),
            _column(teacher, position, [pair.teacher_place for pair in built]),
        )
        write_whole(svg, pairs_svg(*columns, _joins(built)))
        say(console, f'{svg} is drawn')


def _picture_file(options: Options) -> Path | None:
    if options.svg != Path():
        return options.svg
    if not options.write:
        raise ValueError('--svg without a file goes beside the one of --write; name a file')
    return options.write.with_suffix('.svg')


def _position(methods: list[dict]) -> dict:
    """The position whose places are shown: that of the first method that compares features, or OFD's if none does."""
    features = (method['position'] for method in methods if listed_in(method) == 'pairs')
    return next(features, read_method('ofd')['position'])


def _show_places(console: Console, asked: TracedNetworks, position: dict, options: Options) -> None:
    names = ('student', 'teacher') if len(asked.networks) == 2 else ('',)
    for name, network in zip(names, asked.networks, strict=True):
        rows = rows_of(network, position, name == 'teacher', options.every)
        console.print(places_table(network, rows, name))
        if not any(call.path == network.trace.backbone and call.end < math.inf for call in network.trace.calls):
            say(console, f'The backbone stopped early, what would come later is not seen: {network.trace.stopped}')
    say(
        console,
        "* a stage's end, for pairs='auto' where the sizes match; a name that begins with a dot is below the place"
        + ('' if options.every else '; more places: --all'),
    )
    # The last network is the teacher, or the one whose role is not known.
    if not network.loaded and any(row.place and row.place.activated and row.place.norm for row in rows):
        say(console, 'margins need weights: --checkpoint FILE')


def _column(network: Network, position: dict, places: Sequence[Place | Span]) -> Column:
    """A network: the places of the pairs, and those of ``pairs='auto'`` where no pair reads the same."""
    paired = {place.name: place.ends[-1] for place in places}
    read = {replace(place, name='') for place in paired.values()}
    others = {row.path: row.place for row in rows_of(network, position, teaches=True) if row.place}
    shown = paired | {path: place for path, place in others.items() if replace(place, name='') not in read}
    order = sorted(shown.values(), key=lambda place: network.trace.last_call(place.name).end)
    stages = []
    for place in order:
        of_stride = f', stride {stride(network, place)}' if place.size else ''
        stages.append(Stage(place.name, place.size, f'{place.channels} channels{of_stride}'))
    return Column(Path(network.name).stem, f'{in_short(network.parameters)} parameters', stages)


def _joins(built: Sequence[FeaturePair]) -> list[Join]:
    return [Join(pair.student_place.name, pair.teacher_place.name, connector_name(pair)) for pair in built]
