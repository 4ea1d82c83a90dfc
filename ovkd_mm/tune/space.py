"""What is searched: methods, what their gradients are beside the task's, and how many pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..compare.study import Entry
from ..distillers.auto_weight import SHARE
from ..distillers.build_pairs import listed_in
from ..launch.positions import read_networks
from ..method_files import read_method, summed
from ..positions import auto_pairs

__all__ = ['Space', 'shares_text', 'space_of']

SHARES = (0.1, 10.0)  # least and greatest multiple of the task's gradient


@dataclass(frozen=True)
class Space:
    """What a trial may be.

    Attributes:
        methods: Names of files in ``_base_/methods``; several with a ``+`` between them are a sum.
        pairs: The pairs of the config, from the largest map on; a trial drops some of the first. Methods on class
            scores have none.
    """

    methods: tuple[str, ...]
    pairs: tuple[dict, ...]

    def suggest(self, trial: Any) -> Entry:
        """What an Optuna trial is to train."""
        method = trial.suggest_categorical('method', self.methods)
        shares = {name: trial.suggest_float(name, *SHARES, log=True) for name in _share_names(method)}
        kept = trial.suggest_int('pairs', 1, len(self.pairs)) if _takes_pairs(method) else None
        return self.entry(method, kept, **shares)

    def default(self, method: str) -> dict:
        """The parameters of a method's first trial: all pairs, and the share of ``loss_weight='auto'``."""
        shares = dict.fromkeys(_share_names(method), SHARE)
        return dict(method=method) | shares | (dict(pairs=len(self.pairs)) if _takes_pairs(method) else {})

    def entry(self, method: str, pairs: int | None = None, **shares: float) -> Entry:
        """The training of one choice: ``share``, ``share_2`` and so on are those of the methods in a sum.

        A method on class scores has no number of pairs.
        """
        keys = ['method'] if len(shares) == 1 else [f'method.{index}' for index in range(len(shares))]
        options: dict = {
            f'model.{key}.loss.loss_weight.share': float(_text(share))
            for key, share in zip(keys, shares.values(), strict=True)
        }
        label = f'{method}, share {shares_text(shares)}'
        if pairs is not None:
            label += f', {pairs} pairs'
            if pairs < len(self.pairs):
                options['model.pairs'] = list(self.pairs[-pairs:])
        return Entry(label, method, options)

    def kept(self, params: dict) -> str:
        """How many of the pairs a trial with these parameters has."""
        return f'{params["pairs"]} of {len(self.pairs)}' if 'pairs' in params else '-'


def space_of(config: Path, options: dict, base: Config, methods: Sequence[str]) -> Space:
    """The space of a distillation config.

    Args:
        config: Its path.
        options: Settings of it.
        base: The same, read and with these.
        methods: Names of files of methods, or sums of them.

    Raises:
        ValueError: If there is no such method, or the pairs cannot be found.
    """
    takes_pairs = [_takes_pairs(name) for name in methods]  # which names a method that is unknown
    if not any(takes_pairs):
        return Space(tuple(methods), ())
    pairs = base.model.get('pairs', 'auto')
    if pairs == 'auto':
        student, teacher = read_networks(config, options=options).networks
        pairs = auto_pairs(student.trace, teacher.trace)
    if not isinstance(pairs, list) or not pairs:
        raise ValueError(f"model.pairs must be 'auto' or a list of dicts to choose from, got {pairs!r}")
    return Space(tuple(methods), tuple(dict(pair) for pair in pairs))


def shares_text(params: dict) -> str:
    """The shares among a trial's parameters."""
    return '+'.join(_text(value) for name, value in params.items() if name.startswith('share'))


def _share_names(method: str) -> list[str]:
    return ['share', *(f'share_{number}' for number in range(2, len(summed(method)) + 1))]


def _text(share: float) -> str:
    return f'{share:.3g}'


def _takes_pairs(method: str) -> bool:
    return 'pairs' in [listed_in(read_method(one)) for one in summed(method)]  # each is read, so that all exist
