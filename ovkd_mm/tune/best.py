"""What a search recommends: a study of its best choices."""

from collections.abc import Iterable
from pathlib import Path

import yaml
from mmengine.config import Config

from ..checkpoints.atomic_save import write_whole
from ..compare.study import NONE, Entry, Study

__all__ = ['write_best']

BEST = 3  # about as many as one can train whole
SEEDS = [0, 1, 2]


def write_best(file: Path, entries: Iterable[Entry], study: Study, metric: str) -> None:
    """Write a study of the first few entries and of the student alone, for ``tools/compare.py``.

    Args:
        file: Where it goes.
        entries: What was tried, from the best on, as a search may try the same twice.
        study: What was searched: the config and settings of it.
        metric: Key of the validation metric.
    """
    methods: dict[str, dict] = {'alone': dict(method=NONE)}
    for entry in entries:
        if len(methods) <= BEST:
            methods.setdefault(entry.label, dict(method=entry.method, **entry.options))
    content = dict(
        config=str(study.config),
        metric=metric,
        seeds=SEEDS,
        cfg_options=study.options,
        methods=methods,
    )
    text = yaml.safe_dump(Config(content).to_dict(), sort_keys=False, width=120)
    write_whole(file, '# Written by tools/tune.py, which writes it anew when the search goes on.\n' + text)
