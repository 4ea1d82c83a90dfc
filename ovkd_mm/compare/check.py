"""Builds what trainings would build: ``python -m ovkd_mm.compare.check OUT.json CONFIG.py ...``.

In a process of its own, since a toolkit, its registries and a config's imports stay in the process that loads them.
"""

import json
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import HOOKS, MODELS, init_default_scope

from ..distillers import FeatureDistiller
from .environment import environment

__all__ = ['build']


def build(file: str) -> int:
    """Build a config's model, its teacher's weights loaded, and its hooks.

    Args:
        file: Path of the config.

    Returns:
        Number of the student's parameters.
    """
    config = Config.fromfile(file)
    init_default_scope(config.get('default_scope') or 'mmengine')
    model = dict(config.model)
    if config.get('data_preprocessor'):
        model.setdefault('data_preprocessor', config.data_preprocessor)
    model = MODELS.build(model)
    for hook in config.get('custom_hooks') or []:
        HOOKS.build(dict(hook))
    student = model.student if isinstance(model, FeatureDistiller) else model
    return sum(parameter.numel() for parameter in student.parameters())


def main(out: str, *files: str) -> None:
    """Write where we are, and for each config its number of parameters or what is wrong with it."""
    parameters, errors = {}, {}
    for file in files:
        try:
            parameters[file] = build(file)
        except Exception as exc:  # of whatever kind: it would stop the training, too
            errors[file] = f'{type(exc).__name__}: {exc}'
    Path(out).write_text(json.dumps(dict(environment=environment(), parameters=parameters, errors=errors)))


if __name__ == '__main__':
    main(*sys.argv[1:])
