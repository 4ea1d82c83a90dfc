"""What is searched: methods, what their gradients are beside the task's, and how many pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..compare.study import Entry
from ..launch.positions import read_networks
from ..method_files import read_method
from ..positions import auto_pairs

__all__ = ['Space', 'space_of']

SHARES = (0.1, 10.0)  # least and greatest multiple of the task's gradient


@dataclass(frozen=True)
class Space:
    """What a trial may be.

    Attributes:
        methods: Names of files in ``_base_/methods``.
        pairs: The pairs of the config, from the largest map on; a trial drops some of the first.
    """

    methods: tuple[str, ...]
    pairs: tuple[dict, ...]

    def suggest(self, trial: Any) -> Entry:
        """What an Optuna trial is to train."""
        method = trial.suggest_categorical('method', self.methods)
        share = float(f'{trial.suggest_float("share", *SHARES, log=True):.3g}')  # as its folder says
        kept = trial.suggest_int('pairs', 1, len(self.pairs))
        return self.entry(method, share, kept)

    def entry(self, method: str, share: float, kept: int) -> Entry:
        """The training of one choice."""
        options: dict = {'model.method.loss.loss_weight': dict(_delete_=True, share=share)}
        if kept < len(self.pairs):
            options['model.pairs'] = list(self.pairs[-kept:])
        return Entry(f'{method}, share {share:.3g}, {kept} pairs', method, options)


def space_of(config: Path, options: dict, base: Config, methods: Sequence[str]) -> Space:
    """The space of a distillation config.

    Args:
        config: Its path.
        options: Settings of it.
        base: The same, read and with these.
        methods: Names of files of methods.

    Raises:
        ValueError: If there is no such method, or the pairs cannot be found.
    """
    for name in methods:
        read_method(name)
    pairs = base.model.get('pairs', 'auto')
    if pairs == 'auto':
        student, teacher = read_networks(config, options=options).networks
        pairs = auto_pairs(student.trace, teacher.trace)
    return Space(tuple(methods), tuple(dict(pair) for pair in pairs))
